/*
 * served.c -- an engine that is another process: it forks and runs a server (servant.c), which has the store.
 *
 * The server leads a session of its own, and dies with its parent.  With `lie`, commits are acknowledged as tier `process`.
 */
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engines/engine.h"
#include "tests/served.h"

static const struct kv_option options[] = {
    {.name = "behind", .type = KV_TEXT, .fallback = "bitcask", .help = "the engine that the server has its store in"},
    {.name = "lie", .type = KV_BOOL, .fallback = "false", .help = "the server's tier is `process`, whatever was asked for"},
    {0},
};

struct served {
    struct kv_store base;
    pthread_mutex_t lock; /* a request and its answer */
    pid_t           pid;
    int             socket;
};

/* PLUGINS/../servant */
static void find_servant(char path[PATH_MAX])
{
    Dl_info own;
    char   *slash;

    path[0] = '\0';
    if (!dladdr(options, &own) || !realpath(own.dli_fname, path))
        return;
    for (int up = 0; up < 2; up++)
        if ((slash = strrchr(path, '/')))
            *slash = '\0';
    strcat(path, "/servant");
}

static kv_status hear(struct served *served, kv_visit *visit, void *arg, slice key)
{
    struct answer head;
    char         *bytes;

    if (!servant_read(served->socket, &head, sizeof head) || !(bytes = malloc((size_t)head.bytes + 1)))
        return kv_fail(KV_IO, "the server is gone");
    if (!servant_read(served->socket, bytes, head.bytes))
        head.status = kv_fail(KV_IO, "the server is gone");
    else if (head.status == KV_OK && visit)
        visit(arg, key, slice_of(bytes, head.bytes));
    else if (head.status != KV_OK && head.status != KV_NOT_FOUND)
        kv_fail((kv_status)head.status, "%.*s", (int)head.bytes, bytes);
    free(bytes);
    return (kv_status)head.status;
}

static bool say(struct served *served, uint32_t kind, slice key, slice value, bool more)
{
    struct request request = {kind, (uint32_t)key.size, (uint32_t)value.size, more};

    return servant_write(served->socket, &request, sizeof request) && servant_write(served->socket, key.data, key.size) &&
           servant_write(served->socket, value.data, value.size);
}

static kv_status ask(struct kv_session *session, uint32_t kind, slice key, slice value, kv_visit *visit, void *arg)
{
    struct served *served = (struct served *)session->store;
    kv_status      status;

    pthread_mutex_lock(&served->lock);
    status = say(served, kind, key, value, false) ? hear(served, visit, arg, key) : kv_fail(KV_IO, "the server is gone");
    pthread_mutex_unlock(&served->lock);
    return status;
}

static void become_server(const struct kv_config *config, int socket)
{
    static const char *const words[] = {"none", "process", "ordered", "interval", "commit"};
    char                     path[PATH_MAX + 16], tier[KV_DURABILITY_TEXT_MAX];

    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    find_servant(path);
    snprintf(tier, sizeof tier, "%s", config->option[1].u64 ? "process" : words[config->durability.tier]);
    if (config->durability.interval_ns && !config->option[1].u64)
        snprintf(tier, sizeof tier, "interval:%" PRIu64 "ns", config->durability.interval_ns);
    dup2(socket, 0);
    execl(path, path, config->option[0].text, config->dir, tier, (char *)NULL);
    _exit(127);
}

static kv_status served_open(const struct kv_config *config, struct kv_store **out)
{
    struct served *served = calloc(1, sizeof *served);
    int            ends[2];
    kv_status      status;

    if (!served || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        free(served);
        return kv_fail(KV_IO, "socketpair: %s", strerror(errno));
    }
    signal(SIGPIPE, SIG_IGN);
    pthread_mutex_init(&served->lock, NULL);
    served->socket = ends[0];
    served->pid = fork();
    if (served->pid == 0)
        become_server(config, ends[1]);
    close(ends[1]);
    status = served->pid < 0 ? kv_fail(KV_IO, "fork: %s", strerror(errno)) : hear(served, NULL, NULL, (slice){0});
    if (status == KV_OK) {
        *out = &served->base;
        return KV_OK;
    }
    close(ends[0]);
    if (served->pid > 0)
        waitpid(served->pid, NULL, 0);
    free(served);
    return status;
}

static kv_status served_close(struct kv_store *store)
{
    struct served *served = (struct served *)store;
    kv_status      status = say(served, SERVANT_CLOSE, (slice){0}, (slice){0}, false)
                                ? hear(served, NULL, NULL, (slice){0})
                                : kv_fail(KV_IO, "the server is gone");

    close(served->socket);
    waitpid(served->pid, NULL, 0);
    pthread_mutex_destroy(&served->lock);
    free(served);
    return status;
}

static kv_status served_session_open(struct kv_store *store, struct kv_session **out)
{
    (void)store;
    *out = calloc(1, sizeof **out);
    return *out ? KV_OK : kv_fail(KV_NO_MEMORY, "no memory for a session");
}

static void served_session_close(struct kv_session *session)
{
    free(session);
}

static kv_status served_put(struct kv_session *session, slice key, slice value)
{
    return ask(session, SERVANT_PUT, key, value, NULL, NULL);
}

static kv_status served_get(struct kv_session *session, slice key, kv_visit *visit, void *arg)
{
    return ask(session, SERVANT_GET, key, (slice){0}, visit, arg);
}

static kv_status served_del(struct kv_session *session, slice key)
{
    return ask(session, SERVANT_DELETE, key, (slice){0}, NULL, NULL);
}

static kv_status served_write(struct kv_session *session, const struct kv_write *writes, size_t count)
{
    struct served *served = (struct served *)session->store;
    kv_status      status = KV_OK;

    pthread_mutex_lock(&served->lock);
    for (size_t i = 0; i < count && status == KV_OK; i++)
        if (!say(served, writes[i].kind == KV_PUT ? SERVANT_PUT : SERVANT_DELETE, writes[i].key,
                 writes[i].kind == KV_PUT ? writes[i].value : (slice){0}, i + 1 < count))
            status = kv_fail(KV_IO, "the server is gone");
    if (status == KV_OK && count)
        status = hear(served, NULL, NULL, (slice){0});
    pthread_mutex_unlock(&served->lock);
    return status;
}

static kv_status served_sync(struct kv_session *session)
{
    return ask(session, SERVANT_SYNC, (slice){0}, (slice){0}, NULL, NULL);
}

static kv_status served_compact(struct kv_session *session)
{
    return ask(session, SERVANT_COMPACT, (slice){0}, (slice){0}, NULL, NULL);
}

static const struct kv_engine served = {
    .abi             = KV_ABI,
    .name            = "served",
    .version         = "1",
    .summary         = "any engine behind a server: for tests of engines that are another process",
    .can             = KV_DURABLE | KV_BATCH | KV_SESSIONS | KV_COMPACT | KV_RETAINS,
    .tiers           = KV_TIERS_ALL,
    .key_bytes_max   = KV_KEY_BYTES_MAX,
    .value_bytes_max = KV_VALUE_BYTES_MAX,
    .options         = options,
    .open            = served_open,
    .close           = served_close,
    .session_open    = served_session_open,
    .session_close   = served_session_close,
    .put             = served_put,
    .get             = served_get,
    .del             = served_del,
    .write           = served_write,
    .sync            = served_sync,
    .compact         = served_compact,
};

__attribute__((visibility("default"))) const struct kv_engine *kv_plugin(void);

const struct kv_engine *kv_plugin(void)
{
    return &served;
}
