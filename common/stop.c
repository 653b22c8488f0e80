#include "common/stop.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t requested;

static void on_signal(int number)
{
    if (requested) {
        signal(number, SIG_DFL);
        raise(number);
    }
    requested = 1;
}

void stop_install(void)
{
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: sleeps and reads return early */

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

bool stop_requested(void)
{
    return requested != 0;
}
