#include "crashtest/history.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/clock.h"
#include "common/fail.h"

static struct history_op *ops_of(const struct history *history, uint32_t session)
{
    struct history_op *first = (struct history_op *)(history + 1);

    return first + (size_t)session * history->ops_max;
}

static struct history_write *writes_of(const struct history *history, uint32_t session)
{
    struct history_write *first = (struct history_write *)ops_of(history, history->sessions);

    return first + (size_t)session * history->ops_max * HISTORY_BATCH_MAX;
}

static uint64_t position_of(const struct history *history)
{
    return history->position ? __atomic_load_n(history->position, __ATOMIC_ACQUIRE) : 0;
}

struct history *history_new(uint32_t sessions, uint32_t ops_max)
{
    size_t count = (size_t)sessions * ops_max;
    size_t bytes = sizeof(struct history) +
                   count * (sizeof(struct history_op) + HISTORY_BATCH_MAX * sizeof(struct history_write));
    struct history *history =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (history == MAP_FAILED) {
        fail_set("no memory for the notes of %u sessions: %s", sessions, strerror(errno));
        return NULL;
    }
    history->sessions = sessions;
    history->ops_max  = ops_max;
    history->bytes    = bytes;
    return history;
}

void history_free(struct history *history)
{
    if (history)
        munmap(history, history->bytes);
}

void history_clear(struct history *history)
{
    struct history kept = *history;

    *history = (struct history){.position = kept.position, .sessions = kept.sessions, .ops_max = kept.ops_max,
                                .bytes = kept.bytes};
}

struct history_op *history_start(struct history *history, uint32_t session, enum history_kind kind, uint32_t key,
                                 const struct history_write *writes, uint32_t write_count)
{
    struct history_session *mine = &history->session[session];
    struct history_op      *op = &ops_of(history, session)[mine->op_count];

    if (mine->op_count == history->ops_max)
        return NULL;
    *op = (struct history_op){.session = session, .kind = kind, .key = key, .first_write = mine->write_count,
                              .write_count = write_count};
    if (write_count)
        memcpy(&writes_of(history, session)[mine->write_count], writes, write_count * sizeof *writes);
    mine->write_count += write_count;
    op->start_position = position_of(history);
    op->start_ns = clock_now_ns();
    __atomic_store_n(&mine->op_count, mine->op_count + 1, __ATOMIC_RELEASE);
    /* Sequentially consistent: the ticket is taken after all of the above and before anything that the call does. */
    __atomic_store_n(&op->start, __atomic_add_fetch(&history->ticket, 1, __ATOMIC_SEQ_CST), __ATOMIC_SEQ_CST);
    return op;
}

void history_end(struct history *history, struct history_op *op, kv_status status)
{
    uint64_t ticket = __atomic_add_fetch(&history->ticket, 1, __ATOMIC_SEQ_CST);

    op->status       = status;
    op->end_ns       = clock_now_ns();
    op->end_position = position_of(history);
    __atomic_store_n(&op->end, ticket, __ATOMIC_SEQ_CST);
    if (status == KV_OK && (op->kind == HISTORY_WRITE || op->kind == HISTORY_MODIFY))
        __atomic_add_fetch(&history->acked_writes, 1, __ATOMIC_RELAXED);
}

void history_broken(struct history *history, kv_status status, const char *text)
{
    if (__atomic_exchange_n(&history->broken_taken, 1, __ATOMIC_SEQ_CST))
        return;
    strncpy(history->broken_text, text, HISTORY_TEXT_MAX - 1);
    __atomic_store_n(&history->broken_status, (uint32_t)status, __ATOMIC_SEQ_CST);
}

struct history_value history_value_of(slice value)
{
    return (struct history_value){.hash = XXH3_64bits(value.size ? value.data : "", value.size),
                                  .size = (uint32_t)value.size, .state = HISTORY_PRESENT};
}

static int by_start(const void *a, const void *b)
{
    uint64_t left = ((const struct history_op *)a)->start, right = ((const struct history_op *)b)->start;

    return (left > right) - (left < right);
}

bool history_collect(const struct history *history, struct history_record *out)
{
    size_t ops = 0, writes = 0;

    *out = (struct history_record){0};
    for (uint32_t s = 0; s < history->sessions; s++) {
        ops += history->session[s].op_count;
        writes += history->session[s].write_count;
    }
    out->ops    = malloc((ops + 1) * sizeof *out->ops);
    out->writes = malloc((writes + 1) * sizeof *out->writes);
    if (!out->ops || !out->writes) {
        history_record_free(out);
        fail_set("no memory for the notes of %zu operations", ops);
        return false;
    }
    for (uint32_t s = 0; s < history->sessions; s++) {
        const struct history_session *session = &history->session[s];
        for (uint32_t i = 0; i < session->op_count; i++) {
            struct history_op op = ops_of(history, s)[i];
            if (op.start == 0) /* died before it took its ticket */
                continue;
            op.first_write += (uint32_t)out->write_count;
            out->ops[out->op_count++] = op;
        }
        memcpy(out->writes + out->write_count, writes_of(history, s), session->write_count * sizeof *out->writes);
        out->write_count += session->write_count;
    }
    qsort(out->ops, out->op_count, sizeof *out->ops, by_start);
    return true;
}

void history_record_free(struct history_record *record)
{
    free(record->ops);
    free(record->writes);
    *record = (struct history_record){0};
}

void history_record_cut(struct history_record *record, uint64_t position)
{
    size_t kept = 0;

    for (size_t i = 0; i < record->op_count; i++) {
        struct history_op op = record->ops[i];
        if (op.start_position > position)
            continue;
        if (op.end == 0 || op.end_position > position) {
            op.end  = 0;
            op.seen = (struct history_value){.state = HISTORY_UNSEEN}; /* it may have been seen later */
        }
        record->ops[kept++] = op;
    }
    record->op_count = kept;
}
