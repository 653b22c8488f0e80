#include "engines/base/buf.h"

kv_status buf_reserve(struct buf *buf, size_t more)
{
    size_t wanted = buf->size + more;
    size_t capacity = buf->capacity ? buf->capacity : 64;
    char  *data;

    if (wanted < more)
        return kv_fail(KV_NO_MEMORY, "a buffer of %zu + %zu bytes is more than memory can hold", buf->size, more);
    if (wanted <= buf->capacity)
        return KV_OK;
    while (capacity < wanted)
        capacity = capacity > SIZE_MAX / 2 ? wanted : capacity * 2;
    data = realloc(buf->data, capacity);
    if (!data)
        return kv_fail(KV_NO_MEMORY, "no memory for a buffer of %zu bytes", capacity);
    buf->data = data;
    buf->capacity = capacity;
    return KV_OK;
}
