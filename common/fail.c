#include "common/fail.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/words.h"

static _Thread_local char sentence[FAIL_BYTES_MAX];

void fail_set(const char *format, ...)
{
    char    next[FAIL_BYTES_MAX]; /* apart, because the arguments may quote the old sentence */
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(next, sizeof next, format, arguments);
    va_end(arguments);
    words_one_line(next);
    memcpy(sentence, next, strlen(next) + 1);
}

const char *fail_text(void)
{
    return sentence;
}
