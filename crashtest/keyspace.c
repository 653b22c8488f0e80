#include "crashtest/keyspace.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/fail.h"

/* "k" and its number in four hex digits, then what makes the shape.  The number makes it unique; the first 32 numbers that
 * ask for it get a key of one byte. */
static uint32_t make(uint32_t number, uint32_t bytes_max, unsigned char out[KEYSPACE_KEY_BYTES])
{
    char     text[8];
    uint32_t size = 5;

    snprintf(text, sizeof text, "k%04x", number);
    memcpy(out, text, 5);
    switch (number % 8) {
    case 0:
        if (number / 8 < 32) {
            out[0] = (unsigned char)(number / 8 * 8 + 3); /* control characters and high bytes; never 'k' (0x6b) on its own */
            return 1;
        }
        break;
    case 1:
        size = 12;
        memcpy(out + 5, "-common", 7);
        break;
    case 2: /* begins with the whole of the key before it */
        snprintf(text, sizeof text, "k%04x", number - 1);
        memcpy(out, text, 5);
        memcpy(out + 5, "-common\0", 8);
        size = 13;
        break;
    case 6:
        size = 100;
        memset(out + 5, 0xff, 95);
        break;
    case 7:
        size = 300;
        memset(out + 5, 0, 295);
        break;
    default:
        break;
    }
    return size < bytes_max ? size : bytes_max;
}

struct keyspace *keyspace_new(uint32_t count, uint32_t key_bytes_max)
{
    struct keyspace *keys;

    if (count > KEYSPACE_MAX || count == 0 || key_bytes_max < 13) {
        fail_set("%u keys of up to %u bytes; 1 to %d keys of 13 bytes or more are needed", count, key_bytes_max, KEYSPACE_MAX);
        return NULL;
    }
    keys = calloc(1, sizeof *keys + count * sizeof keys->key[0]);
    if (!keys) {
        fail_set("no memory for %u keys", count);
        return NULL;
    }
    keys->count = count;
    for (uint32_t i = 0; i < count; i++)
        keys->key[i].size = make(i, key_bytes_max, keys->key[i].bytes);
    return keys;
}

uint32_t keyspace_number(const struct keyspace *keys, slice key)
{
    for (uint32_t i = 0; i < keys->count; i++)
        if (slice_equal(keyspace_key(keys, i), key))
            return i;
    return UINT32_MAX;
}
