/* group.c -- the queue of a group commit. */
#include "engines/base/group.h"

#include <errno.h>
#include <stddef.h>

void group_init(struct group *group)
{
    *group = (struct group){0};
    group->last = &group->first;
    pthread_mutex_init(&group->lock, NULL);
}

void group_destroy(struct group *group)
{
    pthread_mutex_destroy(&group->lock);
}

void group_request_init(struct group_request *request)
{
    *request = (struct group_request){0};
    sem_init(&request->wake, 0, 0);
}

void group_request_destroy(struct group_request *request)
{
    sem_destroy(&request->wake);
}

bool group_join(struct group *group, struct group_request *request)
{
    bool leads;

    request->next = NULL;
    request->lead = false;
    request->status = KV_OK;
    pthread_mutex_lock(&group->lock);
    *group->last = request;
    group->last = &request->next;
    leads = !group->led;
    group->led = true;
    pthread_mutex_unlock(&group->lock);
    if (leads)
        return true;
    while (sem_wait(&request->wake) < 0 && errno == EINTR)
        continue;
    return request->lead;
}

struct group_request *group_take(struct group *group, uint64_t room)
{
    struct group_request *first, **link;
    uint64_t              bytes = 0;

    pthread_mutex_lock(&group->lock);
    first = group->first;
    link = &group->first;
    do {
        bytes += (*link)->bytes;
        link = &(*link)->next;
    } while (*link && bytes + (*link)->bytes <= room);
    group->first = *link;
    *link = NULL;
    if (!group->first)
        group->last = &group->first;
    pthread_mutex_unlock(&group->lock);
    return first;
}

void group_hand_over(struct group *group)
{
    struct group_request *next;

    pthread_mutex_lock(&group->lock);
    next = group->first;
    if (next)
        next->lead = true;
    else
        group->led = false;
    pthread_mutex_unlock(&group->lock);
    if (next)
        sem_post(&next->wake);
}

void group_wake(struct group_request *first, struct group_request *leader)
{
    for (struct group_request *request = first, *next; request; request = next) {
        next = request->next; /* the request may be gone as soon as its session is awake */
        if (request != leader)
            sem_post(&request->wake);
    }
}
