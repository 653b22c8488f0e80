/* room.c -- a gate before a full disk. */
#include "engines/base/room.h"

#include <inttypes.h>
#include <sys/statvfs.h>

#define CREDIT_BYTES_MAX (INT64_C(64) << 20)

void room_open(struct room *room)
{
    pthread_mutex_init(&room->lock, NULL);
}

void room_close(struct room *room)
{
    pthread_mutex_destroy(&room->lock);
}

static int64_t ask(const struct room *room)
{
    struct statvfs about;
    uint64_t       held = __atomic_load_n(&room->cached_bytes, __ATOMIC_RELAXED);

    if (statvfs(room->dir, &about) != 0)
        return CREDIT_BYTES_MAX; /* the write itself will say what is wrong */
    if (held > room->cached_bytes_max)
        held = room->cached_bytes_max;
    return (int64_t)((uint64_t)about.f_bavail * about.f_frsize) - (int64_t)room->reserve_bytes - (int64_t)held;
}

kv_status room_admit(struct room *room, uint64_t bytes)
{
    kv_status status = KV_OK;

    if (__builtin_expect(__atomic_sub_fetch(&room->credit, (int64_t)bytes, __ATOMIC_RELAXED) < 0, 0)) {
        pthread_mutex_lock(&room->lock);
        if (__atomic_load_n(&room->credit, __ATOMIC_RELAXED) < 0) { /* else another has asked meanwhile */
            int64_t left = ask(room) - (int64_t)bytes;
            if (left < 0)
                status = kv_fail(KV_NO_SPACE, "%s: no space left for %" PRIu64 " bytes, beside %" PRIu64 " that are kept free",
                                 room->dir, bytes, room->reserve_bytes);
            left /= 2; /* another thread was admitted and has not written yet, or another process writes */
            if (status == KV_OK)
                __atomic_store_n(&room->credit, left < CREDIT_BYTES_MAX ? left : CREDIT_BYTES_MAX, __ATOMIC_RELAXED);
        }
        pthread_mutex_unlock(&room->lock);
    }
    if (status == KV_OK && room->cached_bytes_max)
        __atomic_add_fetch(&room->cached_bytes, bytes, __ATOMIC_RELAXED);
    return status;
}

void room_settled(struct room *room)
{
    __atomic_store_n(&room->cached_bytes, 0, __ATOMIC_RELAXED);
}
