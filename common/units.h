/*
 * units.h -- sizes, counts and times as people write them, both ways.
 *
 * Counts and sizes: 4k 1M 2G (powers of 1000 for counts, of 1024 for bytes; "KiB" and "kB" are exact either way).
 * Times: 10ns 250us 5ms 2s 1m 1h.  A number without a unit is itself (bytes, things), but a time needs its unit.
 */
#ifndef ASSAY_COMMON_UNITS_H
#define ASSAY_COMMON_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UNITS_TEXT_MAX 32

/* Each reads the whole of text.  False, with fail_set(), on anything else: signs, rubbish behind, overflow. */
bool units_parse_count(const char *text, uint64_t *out);
bool units_parse_bytes(const char *text, uint64_t *out);
bool units_parse_ns(const char *text, uint64_t *out);
bool units_parse_rate(const char *text, double *out); /* like a count, and need not be whole: "1.5k", "0.5" */
bool units_parse_real(const char *text, double *out); /* finite, "0.95" or "95%" */

/* Each writes into out (at least UNITS_TEXT_MAX bytes) and returns it. */
char *units_text_bytes(char *out, uint64_t bytes);  /* "1.5 MiB" */
char *units_text_count(char *out, double count);    /* "1.25 M" */
char *units_text_ns(char *out, uint64_t ns);        /* "12.3 us" */
/* The shortest text that the parser above reads back to the same number. */
char *units_exact_bytes(char *out, uint64_t bytes); /* "64M" */
char *units_exact_ns(char *out, uint64_t ns);       /* "5ms" */

#endif
