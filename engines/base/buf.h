/* buf.h -- bytes that we own and that grow. */
#ifndef ASSAY_ENGINES_BASE_BUF_H
#define ASSAY_ENGINES_BASE_BUF_H

#include <stdint.h>
#include <stdlib.h>

#include "engines/base/slice.h"
#include "engines/base/status.h"

struct buf {
    char  *data;
    size_t size;     /* bytes in use */
    size_t capacity; /* bytes allocated */
};

/* Room for at least `more` bytes behind data + size.  KV_NO_MEMORY leaves the buffer as it was. */
MUST_USE kv_status buf_reserve(struct buf *buf, size_t more);
MUST_USE static inline kv_status buf_append(struct buf *buf, const void *data, size_t size)
{
    if (__builtin_expect(size > buf->capacity - buf->size, 0))
        TRY(buf_reserve(buf, size));
    if (size)
        bytes_copy(buf->data + buf->size, data, size);
    buf->size += size;
    return KV_OK;
}

static inline slice buf_slice(const struct buf *buf)
{
    return slice_of(buf->data, buf->size);
}

static inline void buf_free(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){0};
}

#endif
