/*
 * group.h -- group commit: whoever finds nobody leading does the work of all who queue meanwhile, with one sync.
 *
 *     if (group_join(group, &request)) {                       the caller leads: now, or when the one before handed over
 *         first = group_take(group, room);                     its own request is the first
 *         ... writes and syncs all of them, sets their status ...
 *         group_hand_over(group);                              the next leader begins before anybody of this group is told
 *         group_wake(first, &request);
 *     }
 *     request.status is known
 *
 * One leader and immediate handover, a semaphore (so one futex call) for each follower: leader and followers as in LevelDB's
 * write queue, without its shared condition variable.
 */
#ifndef ASSAY_ENGINES_BASE_GROUP_H
#define ASSAY_ENGINES_BASE_GROUP_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

#include "engines/base/status.h"

struct group_request { /* embedded in an engine's own; one for each session */
    struct group_request *next;
    sem_t                 wake;
    bool                  lead;
    kv_status             status;
    uint64_t              bytes; /* what it takes of the leader's room */
};

struct group {
    pthread_mutex_t        lock;
    struct group_request  *first, **last;
    bool                   led;
};

void group_init(struct group *group);
void group_destroy(struct group *group);
void group_request_init(struct group_request *request);
void group_request_destroy(struct group_request *request);

/* Queues the request; true: the caller leads now.  False: another led, and request->status is set. */
bool group_join(struct group *group, struct group_request *request);
/* The first of the queue, and those behind it that fit in `room` bytes with it; linked by next. */
struct group_request *group_take(struct group *group, uint64_t room);
void group_hand_over(struct group *group);
void group_wake(struct group_request *first, struct group_request *leader);

#endif
