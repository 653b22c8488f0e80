/*
 * null.c -- does nothing, so that what a run costs with it is the cost of the harness.
 *
 * Write       A put copies its value over the last one of its session; the key is not looked at.
 * Read        A get lends back the last value that its session put, whatever the key; before the first put an empty one.
 * Durability  None, and no memory either: it does not set KV_RETAINS.
 */
#include <stdlib.h>

#include "engines/engine.h"

struct null_session {
    struct kv_session base;
    struct buf        last;
};

static kv_status null_open(const struct kv_config *config, struct kv_store **out)
{
    (void)config;
    *out = calloc(1, sizeof **out);
    return *out ? KV_OK : kv_fail(KV_NO_MEMORY, "no memory for a store");
}

static kv_status null_close(struct kv_store *store)
{
    free(store);
    return KV_OK;
}

static kv_status null_session_open(struct kv_store *store, struct kv_session **out)
{
    struct null_session *session = calloc(1, sizeof *session);

    (void)store;
    if (!session)
        return kv_fail(KV_NO_MEMORY, "no memory for a session");
    *out = &session->base;
    return KV_OK;
}

static void null_session_close(struct kv_session *base)
{
    struct null_session *session = (struct null_session *)base;

    buf_free(&session->last);
    free(session);
}

/* In pieces that do not overlap: a read of bytes that two stores wrote just before waits for both, and that wait would be taken
 * for the harness's. */
static void copy(char *to, const char *from, size_t left)
{
    for (; left >= 16; left -= 16, to += 16, from += 16)
        memcpy(to, from, 16);
    if (left & 8) {
        memcpy(to, from, 8);
        to += 8, from += 8;
    }
    if (left & 4) {
        memcpy(to, from, 4);
        to += 4, from += 4;
    }
    for (left &= 3; left; left--)
        *to++ = *from++;
}

static kv_status null_put(struct kv_session *base, slice key, slice value)
{
    struct null_session *session = (struct null_session *)base;

    (void)key;
    session->last.size = 0;
    if (session->last.capacity < value.size)
        TRY(buf_reserve(&session->last, value.size));
    copy(session->last.data, value.data, value.size);
    session->last.size = value.size;
    return KV_OK;
}

static kv_status null_get(struct kv_session *base, slice key, kv_visit *visit, void *arg)
{
    struct null_session *session = (struct null_session *)base;

    visit(arg, key, buf_slice(&session->last));
    return KV_OK;
}

static kv_status null_del(struct kv_session *session, slice key)
{
    (void)session, (void)key;
    return KV_OK;
}

static kv_status null_write(struct kv_session *session, const struct kv_write *writes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (writes[i].kind == KV_PUT)
            TRY(null_put(session, writes[i].key, writes[i].value));
    return KV_OK;
}

static kv_status null_scan(struct kv_session *session, slice first, kv_visit *visit, void *arg)
{
    (void)session, (void)first, (void)visit, (void)arg;
    return KV_OK;
}

static kv_status null_sync(struct kv_session *session)
{
    (void)session;
    return KV_OK;
}

const struct kv_engine null_engine = {
    .abi             = KV_ABI,
    .name            = "null",
    .version         = "1",
    .summary         = "does nothing; what a run costs with it is the cost of the harness",
    .can             = KV_SESSIONS,
    .tiers           = 0,
    .key_bytes_max   = KV_KEY_BYTES_MAX,
    .value_bytes_max = KV_VALUE_BYTES_MAX,
    .open            = null_open,
    .close           = null_close,
    .session_open    = null_session_open,
    .session_close   = null_session_close,
    .put             = null_put,
    .get             = null_get,
    .del             = null_del,
    .write           = null_write,
    .scan            = null_scan,
    .sync            = null_sync,
};
