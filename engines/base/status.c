#include "engines/base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *kv_status_word(kv_status status)
{
    static const char *const words[] = {
#define X(name, word, meaning) [name] = word,
        KV_STATUS_LIST(X)
#undef X
    };
    return (unsigned)status < KV_STATUS_COUNT ? words[status] : "unknown";
}

int kv_status_exit(kv_status status)
{
    switch (status) {
    case KV_OK:
        return 0;
    case KV_INVALID:
    case KV_UNSUPPORTED:
    case KV_TOO_LARGE:
    case KV_MISMATCH:
        return 2;
    default:
        return 1;
    }
}

kv_status kv_fail(kv_status status, const char *format, ...)
{
    char    text[FAIL_BYTES_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fail_set("%s", text);
    return status;
}

kv_status kv_fail_errno(const char *format, ...)
{
    int     reason = errno;
    char    text[FAIL_BYTES_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fail_set("%s: %s", text, strerror(reason));
    errno = reason;
    return reason == ENOSPC || reason == EDQUOT ? KV_NO_SPACE : reason == ENOMEM ? KV_NO_MEMORY : KV_IO;
}
