/* fuzz_snapshot.c -- any bytes as a snapshot stream: records or one sentence, never more than there is. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engines/base/snapshot.h"
#include "engines/engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct snapshot_reader reader;
    slice                  key, value;
    size_t                 bytes = 0;
    int                    fd = memfd_create("stream", MFD_CLOEXEC);
    kv_status              status;

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    lseek(fd, 0, SEEK_SET);
    fail_set("%s", "");
    status = snapshot_reader_open(&reader, fd);
    while (status == KV_OK && (status = snapshot_reader_next(&reader, &key, &value)) == KV_OK) {
        bytes += key.size + value.size;
        assert(key.size >= 1 && key.size <= KV_KEY_BYTES_MAX && bytes <= size);
    }
    assert(status == KV_NOT_FOUND || *fail_text());
    snapshot_reader_free(&reader);
    close(fd);
    return 0;
}
