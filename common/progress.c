#include "common/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/units.h"

void progress_start(struct progress *progress, const char *unit, uint64_t total)
{
    *progress = (struct progress){
        .unit = unit, .total = total, .started_ns = clock_now_ns(), .live = isatty(STDERR_FILENO)};
}

void progress_show(struct progress *progress, const char *label, uint64_t done)
{
    char     done_text[UNITS_TEXT_MAX], rate_text[UNITS_TEXT_MAX];
    uint64_t now = progress->live ? clock_now_ns() : 0;
    double   seconds, rate;

    if (!progress->live || now - progress->shown_ns < 100 * NS_PER_MS)
        return;
    progress->shown_ns = now;
    seconds = (double)(now - progress->started_ns) / (double)NS_PER_S;
    rate = seconds > 0 ? (double)done / seconds : 0;
    fprintf(stderr, "\r\033[K%s  %s %s, %s/s", label, units_text_count(done_text, (double)done), progress->unit,
            units_text_count(rate_text, rate));
    if (progress->total && rate > 0) {
        double left = done < progress->total ? (double)(progress->total - done) / rate : 0;
        fprintf(stderr, ", %.0f%%, %d:%02d left", 100.0 * (double)done / (double)progress->total, (int)left / 60,
                (int)left % 60);
    }
    fflush(stderr);
}

void progress_end(struct progress *progress)
{
    if (progress->live && progress->shown_ns)
        fputs("\r\033[K", stderr);
    progress->shown_ns = 0;
}
