#include "engines/base/print.h"

#include <ctype.h>

#define SHOWN_BYTES 48u

void print_bytes(FILE *out, slice bytes)
{
    const unsigned char *at = bytes.data;

    fputc('"', out);
    for (size_t i = 0; i < bytes.size && i < SHOWN_BYTES; i++) {
        if (isprint(at[i]) && at[i] != '"' && at[i] != '\\')
            fputc(at[i], out);
        else
            fprintf(out, "\\x%02x", at[i]);
    }
    fprintf(out, bytes.size > SHOWN_BYTES ? "\"... of %zu bytes" : "\"", bytes.size);
}
