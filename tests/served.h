/*
 * served.h -- what the engine `served` (plugins/served.c) and its server (servant.c) say to each other, over one socket.
 *
 *   request := struct request, key, value        answer := struct answer, text or value
 */
#ifndef ASSAY_TESTS_SERVED_H
#define ASSAY_TESTS_SERVED_H

#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

struct request {
    uint32_t kind; /* SERVANT_... */
    uint32_t key_bytes, value_bytes;
    uint32_t more; /* of a batch: the next request belongs to it too, and only the last one is answered */
};

struct answer {
    uint32_t status, bytes;
};

enum { SERVANT_GET, SERVANT_PUT, SERVANT_DELETE, SERVANT_SYNC, SERVANT_COMPACT, SERVANT_CLOSE };

static inline bool servant_write(int fd, const void *data, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t n = write(fd, (const char *)data + done, bytes - done);
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

static inline bool servant_read(int fd, void *data, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t n = read(fd, (char *)data + done, bytes - done);
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

#endif
