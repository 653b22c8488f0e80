/*
 * servant.c -- a server in front of any engine: `servant ENGINE DIR TIER` answers on descriptor 0 until it closes.
 *
 * Run by the engine `served` (plugins/served.c), so that a test has an engine that is another process.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engines/engine.h"
#include "tests/served.h"

static bool answer(kv_status status, slice text)
{
    struct answer head = {status, (uint32_t)text.size};

    return servant_write(0, &head, sizeof head) && servant_write(0, text.data, text.size);
}

static bool answer_status(kv_status status)
{
    const char *text = status == KV_OK || status == KV_NOT_FOUND ? "" : fail_text();

    return answer(status, slice_of(text, strlen(text)));
}

static bool give(void *arg, slice key, slice value)
{
    bool *given = arg;

    (void)key;
    *given = answer(KV_OK, value);
    return true;
}

static kv_status open_store(char **argv, struct kv_store **store, struct kv_session **session)
{
    const struct kv_engine *engine;
    struct kv_config        config;

    TRY(kv_engine_find(argv[1], &engine));
    kv_config_init(engine, &config);
    for (size_t i = 0; engine->options && engine->options[i].name; i++)
        if (engine->options[i].small)
            TRY(kv_config_set(engine, &config, engine->options[i].name, engine->options[i].small));
    config.dir = argv[2];
    TRY(kv_durability_parse(argv[3], &config.durability));
    TRY(kv_open(engine, &config, store));
    return kv_session_open(*store, session);
}

static bool serve(struct kv_session *session)
{
    static struct kv_write writes[KV_BATCH_MAX];
    struct request         request;
    size_t                 count = 0;
    kv_status              status;
    bool                   given;

    while (servant_read(0, &request, sizeof request) && request.kind != SERVANT_CLOSE) {
        char *bytes = malloc((size_t)request.key_bytes + request.value_bytes + 1);
        slice key = slice_of(bytes, request.key_bytes), value = slice_of(bytes + key.size, request.value_bytes);

        if (!bytes || !servant_read(0, bytes, key.size + value.size))
            return false;
        switch (request.kind) {
        case SERVANT_GET:
            given = false;
            status = kv_get(session, key, give, &given);
            if (!given && (status == KV_OK || !answer_status(status)))
                return false;
            break;
        case SERVANT_PUT: case SERVANT_DELETE:
            writes[count++] = (struct kv_write){request.kind == SERVANT_PUT ? KV_PUT : KV_DELETE, key, value};
            if (request.more)
                continue;
            if (count > 1)
                status = kv_write(session, writes, count);
            else
                status = request.kind == SERVANT_PUT ? kv_put(session, key, value) : kv_del(session, key);
            while (count > 1)
                free((char *)writes[--count - 1].key.data);
            count = 0;
            if (!answer_status(status))
                return false;
            break;
        default:
            if (!answer_status(request.kind == SERVANT_SYNC ? kv_sync(session) : kv_compact(session)))
                return false;
        }
        free(bytes);
    }
    return true;
}

int main(int argc, char **argv)
{
    struct kv_store   *store = NULL;
    struct kv_session *session = NULL;
    kv_status          status;

    if (argc != 4) {
        fputs("usage: servant ENGINE DIR TIER, with a socket as standard input\n", stderr);
        return 2;
    }
    status = open_store(argv, &store, &session);
    if (!answer_status(status) || status != KV_OK || !serve(session))
        return 1;
    kv_session_close(session);
    return !answer_status(kv_close(store));
}
