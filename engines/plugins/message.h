/*
 * message.h -- the status behind an error message of LevelDB's family, whose C interfaces tell failures as text only.
 *
 * The text is that of their Status::ToString (util/status.cc, both projects): a kind ("Corruption: ", "IO error: "), then file names
 * and strerror().  Only the kinds that a caller reacts to are told apart.
 */
#ifndef ASSAY_ENGINES_PLUGINS_MESSAGE_H
#define ASSAY_ENGINES_PLUGINS_MESSAGE_H

#include <string.h>

#include "engines/base/status.h"

static inline kv_status message_status(const char *message)
{
    if (strstr(message, "No space left on device") || strstr(message, "Disk quota exceeded"))
        return KV_NO_SPACE;
    if (strstr(message, "Cannot allocate memory") || strncmp(message, "Out of memory", 13) == 0)
        return KV_NO_MEMORY;
    if (strncmp(message, "Corruption", 10) == 0)
        return KV_CORRUPT;
    if (strncmp(message, "Invalid argument", 16) == 0 || strncmp(message, "Not implemented", 15) == 0)
        return KV_INVALID;
    return KV_IO;
}

#endif
