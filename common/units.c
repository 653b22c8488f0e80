#include "common/units.h"

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/fail.h"

struct unit {
    const char *suffix;
    double      factor;
};

static const struct unit count_units[] = {
    {"", 1}, {"k", 1e3}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12}, {0},
};
static const struct unit byte_units[] = {
    {"", 1},           {"B", 1},          {"k", 0x1p10},   {"K", 0x1p10},   {"M", 0x1p20},   {"G", 0x1p30},
    {"T", 0x1p40},     {"KiB", 0x1p10},   {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}, {"kB", 1e3},
    {"MB", 1e6},       {"GB", 1e9},       {"TB", 1e12},    {0},
};
static const struct unit time_units[] = {
    {"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"min", 60e9}, {"h", 3600e9}, {0},
};
static const struct unit real_units[] = {{"", 1}, {"%", 0.01}, {0}};

/* A number, digits first, and its unit; the product must be finite and not negative. */
static bool parse(const char *text, const struct unit *units, const char *like, double *out)
{
    char  *end;
    double number;

    if (text[0] != '.' && (text[0] < '0' || text[0] > '9')) {
        fail_set("\"%s\" is not a number; write it like %s", text, like);
        return false;
    }
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        fail_set("\"%s\" is hexadecimal; write it like %s", text, like);
        return false;
    }
    number = strtod(text, &end);
    while (*end == ' ')
        end++;
    for (const struct unit *u = units; u->suffix; u++) {
        if (strcmp(end, u->suffix) != 0)
            continue;
        *out = number * u->factor;
        if (isfinite(*out))
            return true;
        fail_set("\"%s\" is too large", text);
        return false;
    }
    if (*end == '\0')
        fail_set("\"%s\" has no unit; write it like %s", text, like);
    else
        fail_set("\"%s\" has the unknown unit \"%s\"; write it like %s", text, end, like);
    return false;
}

static bool parse_whole(const char *text, const struct unit *units, const char *like, uint64_t *out)
{
    double             number;
    char              *end;
    unsigned long long plain;

    /* Whole digits are multiplied as integers, because a double holds only 53 bits of them. */
    errno = 0;
    plain = text[0] >= '0' && text[0] <= '9' ? strtoull(text, &end, 10) : 0;
    while (text[0] >= '0' && text[0] <= '9' && *end == ' ')
        end++;
    for (const struct unit *u = units; text[0] >= '0' && text[0] <= '9' && u->suffix; u++) {
        if (strcmp(end, u->suffix) != 0)
            continue;
        if (errno != ERANGE && !__builtin_mul_overflow((uint64_t)plain, (uint64_t)u->factor, out))
            return true;
        fail_set("\"%s\" is too large", text);
        return false;
    }
    if (!parse(text, units, like, &number))
        return false;
    if (number >= 0x1p64) {
        fail_set("\"%s\" is too large", text);
        return false;
    }
    /* 1.005s is whole in ns, though 1.005 is not quite 1.005 in binary. */
    if (fabs(number - nearbyint(number)) > number * 4 * DBL_EPSILON) {
        fail_set("\"%s\" is not a whole number", text);
        return false;
    }
    *out = (uint64_t)nearbyint(number);
    return true;
}

bool units_parse_count(const char *text, uint64_t *out)
{
    return parse_whole(text, count_units, "250, 10k or 1M", out);
}

bool units_parse_bytes(const char *text, uint64_t *out)
{
    return parse_whole(text, byte_units, "4096, 4k or 64M", out);
}

bool units_parse_ns(const char *text, uint64_t *out)
{
    if (strcmp(text, "0") == 0) {
        *out = 0;
        return true;
    }
    return parse_whole(text, time_units, "250us, 10ms or 30s", out);
}

bool units_parse_rate(const char *text, double *out)
{
    return parse(text, count_units, "250, 1.5k or 1M", out);
}

bool units_parse_real(const char *text, double *out)
{
    return parse(text, real_units, "0.95 or 95%", out);
}

static char *scaled(char *out, double number, double step, const char *const names[], size_t last)
{
    size_t i = 0;

    while (i < last && number >= step * 0.9995) {
        number /= step;
        i++;
    }
    if (i == 0 && number == floor(number))
        snprintf(out, UNITS_TEXT_MAX, "%.0f%s", number, names[0]);
    else
        snprintf(out, UNITS_TEXT_MAX, number < 9.995 ? "%.2f%s" : number < 99.95 ? "%.1f%s" : "%.0f%s", number,
                 names[i]);
    return out;
}

char *units_text_bytes(char *out, uint64_t bytes)
{
    static const char *const names[] = {" B", " KiB", " MiB", " GiB", " TiB"};
    return scaled(out, (double)bytes, 1024, names, 4);
}

char *units_text_count(char *out, double count)
{
    static const char *const names[] = {"", " k", " M", " G", " T"};
    return scaled(out, count, 1000, names, 4);
}

char *units_text_ns(char *out, uint64_t ns)
{
    static const char *const names[] = {" ns", " us", " ms", " s"};
    return scaled(out, (double)ns, 1000, names, 3);
}

static char *exact(char *out, uint64_t number, const struct unit *units)
{
    const struct unit *best = &units[0];

    for (const struct unit *u = units; u->suffix; u++)
        if (number && u->factor > best->factor && u->factor < 0x1p63 && number % (uint64_t)u->factor == 0)
            best = u;
    snprintf(out, UNITS_TEXT_MAX, "%" PRIu64 "%s", number / (uint64_t)best->factor, best->suffix);
    return out;
}

char *units_exact_bytes(char *out, uint64_t bytes)
{
    static const struct unit units[] = {{"", 1}, {"k", 0x1p10}, {"M", 0x1p20}, {"G", 0x1p30}, {0}};
    return exact(out, bytes, units);
}

char *units_exact_ns(char *out, uint64_t ns)
{
    static const struct unit units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {0}};
    return exact(out, ns, units);
}
