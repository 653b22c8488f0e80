/*
 * arrival.c -- when the next operation is meant to start.
 *
 * paced       Every threads / rate seconds; the threads are offset evenly against each other.
 * poisson     Exponential gaps of that mean: independent clients.
 * consistent  Gaps uniform between wait_min_ns and wait_max_ns.
 * bursty      Such gaps, and with burst_probability one uniform between long_wait_min_ns and long_wait_max_ns.  (The
 *             project that this pattern is from had the probability the wrong way round and waited long 95 % of the
 *             time.)
 */
#include "workloads/arrival.h"

#include <math.h>

#define ARRIVAL_STREAM UINT64_C(0x6172726976616c) /* sets this generator apart from the others of the seed */

void arrival_begin(struct arrival *arrival, const struct workload *workload, size_t phase, uint32_t thread)
{
    *arrival = (struct arrival){.workload = workload};
    rng_seed(&arrival->rng, workload->seed ^ ARRIVAL_STREAM, (uint64_t)phase << 32 | thread);
    if (workload->rate_per_s > 0)
        arrival->interval_ns = 1e9 * workload->threads / workload->rate_per_s;
    if (workload->arrival == ARRIVAL_PACED)
        arrival->at_ns = arrival->interval_ns * thread / workload->threads;
}

static double between(struct rng *rng, uint64_t min, uint64_t max)
{
    return (double)(min + rng_below(rng, max - min + 1));
}

uint64_t arrival_next_ns(struct arrival *arrival)
{
    const struct workload *workload = arrival->workload;

    switch (workload->arrival) {
    case ARRIVAL_PACED: /* by multiplication, so that rounding does not add up */
        return (uint64_t)(arrival->at_ns + arrival->interval_ns * (double)arrival->count++);
    case ARRIVAL_POISSON:
        arrival->at_ns += -log1p(-rng_unit(&arrival->rng)) * arrival->interval_ns;
        break;
    case ARRIVAL_BURSTY:
        if (rng_unit(&arrival->rng) < workload->burst_probability) {
            arrival->at_ns += between(&arrival->rng, workload->long_wait_min_ns, workload->long_wait_max_ns);
            break;
        }
        /* fall through */
    default:
        arrival->at_ns += between(&arrival->rng, workload->wait_min_ns, workload->wait_max_ns);
        break;
    }
    arrival->count++;
    return (uint64_t)arrival->at_ns;
}
