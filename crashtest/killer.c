#include "crashtest/killer.h"

#include <signal.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "common/stop.h"

/* The moment of death is so much later than the last write it waits for, at most: or as long as one and a half writes take, so
 * that it also meets the second half of a slow commit. */
#define LATER_NS     (400 * NS_PER_US)
#define LATER_NS_MAX (100 * NS_PER_MS)

#define LOOK_NS (40 * NS_PER_US)

/* Of 100 lives that may linger. */
#define LINGER_PERCENT 25

static bool is_over(pid_t pid)
{
    siginfo_t about = {0};

    return waitid(P_PID, (id_t)pid, &about, WEXITED | WNOHANG | WNOWAIT) == 0 && about.si_pid == pid;
}

static void wait_ns(uint64_t ns)
{
    clock_sleep_until_ns(clock_now_ns() + ns);
}

static uint32_t stage_of(const struct history *history)
{
    return __atomic_load_n(&history->stage, __ATOMIC_SEQ_CST);
}

static uint64_t later_ns(const struct history *history)
{
    uint64_t acked = __atomic_load_n(&history->acked_writes, __ATOMIC_RELAXED), now_ns = clock_now_ns(), later_ns;

    if (!acked || stage_of(history) < HISTORY_OPENED || now_ns < history->opened_ns)
        return LATER_NS;
    later_ns = (now_ns - history->opened_ns) / acked * history->sessions * 3 / 2;
    return later_ns < LATER_NS ? LATER_NS : later_ns > LATER_NS_MAX ? LATER_NS_MAX : later_ns;
}

static enum killer_end wait_early(struct killer *killer, const struct history *history, pid_t pid)
{
    for (int i = 0; stage_of(history) < HISTORY_OPENING && !is_over(pid) && !stop_requested(); i++)
        if (i > 100)
            wait_ns(LOOK_NS);
    wait_ns(rng_below(killer->rng, killer->open_ns + killer->open_ns / 4 + 1));
    return is_over(pid) ? KILLER_BY_ITSELF : KILLER_KILLED;
}

static enum killer_end wait_for_writes(struct killer *killer, const struct history *history, uint64_t target, pid_t pid)
{
    uint64_t seen = 0, moved_ns = clock_now_ns();

    while (!stop_requested()) {
        uint64_t acked = __atomic_load_n(&history->acked_writes, __ATOMIC_RELAXED), now_ns = clock_now_ns();
        uint32_t stage = stage_of(history);

        if (stage >= HISTORY_DONE || (stage == HISTORY_OPENED && acked >= target))
            break;
        if (is_over(pid))
            return KILLER_BY_ITSELF;
        if (acked != seen) {
            seen = acked;
            moved_ns = now_ns;
        } else if (now_ns - moved_ns > killer->timeout_ns) {
            return KILLER_STALLED;
        }
        wait_ns(LOOK_NS);
    }
    if (killer->linger_ns && rng_below(killer->rng, 100) < LINGER_PERCENT)
        wait_ns(killer->linger_ns);
    wait_ns(rng_below(killer->rng, later_ns(history)));
    return is_over(pid) ? KILLER_BY_ITSELF : KILLER_KILLED;
}

/* The recorder's own kill: the parent only waits, and kills what outlived it. */
static enum killer_end wait_for_end(struct killer *killer, const struct history *history, bool opening, pid_t pid)
{
    if (!opening)
        return wait_for_writes(killer, history, killer->ops, pid);
    for (uint64_t until_ns = clock_now_ns() + killer->timeout_ns; !stop_requested();) {
        if (is_over(pid))
            return KILLER_BY_ITSELF;
        if (stage_of(history) >= HISTORY_OPENED)
            return KILLER_KILLED;
        if (clock_now_ns() > until_ns)
            return KILLER_STALLED;
        wait_ns(LOOK_NS);
    }
    return KILLER_KILLED;
}

static void choose_call(struct killer *killer, struct recorder_plan *record, bool opening)
{
    /* Most calls are not writes, so inside is tried twice as often: a torn write is the state that is seldom met. */
    static const enum recorder_act acts[] = {RECORDER_KILL_BEFORE, RECORDER_KILL_AFTER, RECORDER_KILL_INSIDE,
                                             RECORDER_KILL_INSIDE};
    uint64_t                       calls = opening ? killer->opening_calls : killer->calls;

    record->act  = acts[rng_below(killer->rng, 4)];
    record->at   = 1 + rng_below(killer->rng, calls + calls / 8 + 2);
    record->seed = rng_u64(killer->rng);
}

/* Estimates follow slowly: stores grow and shrink. */
static void learn(uint64_t *estimate, uint64_t seen)
{
    *estimate = *estimate ? (*estimate * 7 + seen) / 8 : seen;
}

bool killer_run(struct killer *killer, const struct life_plan *plan, struct recorder_plan *record, enum killer_when when,
                struct killer_report *out)
{
    struct history *history = plan->history;
    bool            at_call = when == KILLER_AT_CALL || when == KILLER_AT_OPENING_CALL;
    pid_t           pid;

    *out = (struct killer_report){.end = KILLER_KILLED};
    if (at_call)
        choose_call(killer, record, when == KILLER_AT_OPENING_CALL);
    pid = child_start(life_body, (void *)plan);
    if (pid < 0)
        return false;
    if (at_call)
        out->end = wait_for_end(killer, history, when == KILLER_AT_OPENING_CALL, pid);
    else if (when == KILLER_EARLY)
        out->end = wait_early(killer, history, pid);
    else
        out->end = wait_for_writes(killer, history, rng_below(killer->rng, killer->ops), pid);
    out->death_ns = clock_now_ns();
    child_kill(pid);
    out->child = child_wait(pid, 0);
    out->at_call = record && record->trace->killed;
    if (out->end == KILLER_BY_ITSELF && out->child.end == CHILD_SIGNALLED && out->child.code == SIGKILL &&
        record && (record->trace->killed || record->trace->full))
        out->end = KILLER_KILLED;
    out->in_opening = history->stage == HISTORY_OPENING;
    if (record && history->opened_calls)
        learn(&killer->opening_calls, history->opened_calls);
    if (record && when == KILLER_AT_WRITES)
        learn(&killer->calls, record->trace->calls);
    return true;
}
