#include "common/args.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fail.h"
#include "common/units.h"
#include "common/words.h"

#define OPTIONS_MAX 64

int args_wrong(const struct arg_command *command, const char *format, ...)
{
    char    sentence[2 * FAIL_BYTES_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    words_one_line(sentence);
    fprintf(stderr, "%s: %s\n", command->name, sentence);
    return 2;
}

/* Names only, as many on a line as fit. */
static void print_brief(const struct arg_command *command)
{
    int column = 0;

    if (!command->brief)
        return;
    printf("\n%s\n", command->brief);
    for (const struct arg *option = command->options; option->name; option++) {
        int bytes = (int)strlen(option->name) + 4;

        if (!option->brief)
            continue;
        if (column + bytes > 100) {
            putchar('\n');
            column = 0;
        }
        column += printf("  --%s", option->name);
    }
    putchar('\n');
}

static void print_help(const struct arg_command *command)
{
    printf("%s %s\n\n%s\n\n", command->name, command->usage, command->summary);
    for (const struct arg *option = command->options; option->name; option++) {
        char left[64];

        if (option->brief)
            continue;

        snprintf(left, sizeof left, "--%s%s%s", option->name, option->metavar ? " " : "",
                 option->metavar ? option->metavar : "");
        printf("  %-28s %s\n", left, option->help);
    }
    print_brief(command);
    if (command->examples)
        printf("\nExamples\n%s", command->examples);
}

static bool add(struct arg_list *list, const char *item)
{
    if (list->count == ARG_LIST_MAX) {
        fail_set("more than %d values", ARG_LIST_MAX);
        return false;
    }
    list->item[list->count++] = item;
    return true;
}

static bool add_split(struct arg_list *list, const char *text)
{
    char *copy = strdup(text); /* lives as long as the process: the list points into it */
    char *rest = copy;

    for (char *item; (item = strsep(&rest, ","));) {
        if (*item == '\0') {
            fail_set("\"%s\" has an empty item", text);
            free(copy);
            return false;
        }
        if (!add(list, item)) {
            free(copy);
            return false;
        }
    }
    return true;
}

static bool store(const struct arg *option, const char *value)
{
    char *end;

    switch (option->type) {
    case ARG_FLAG:
        *(bool *)option->out = true;
        return true;
    case ARG_TEXT:
        *(const char **)option->out = value;
        return true;
    case ARG_COUNT:
        return units_parse_count(value, option->out);
    case ARG_BYTES:
        return units_parse_bytes(value, option->out);
    case ARG_TIME: {
        double seconds = strtod(value, &end);
        if (value[0] >= '0' && value[0] <= '9' && *end == '\0' && seconds < 1e9) {
            *(uint64_t *)option->out = (uint64_t)(seconds * (double)NS_PER_S);
            return true;
        }
        return units_parse_ns(value, option->out);
    }
    case ARG_REAL:
        return units_parse_real(value, option->out);
    case ARG_LIST:
        return add_split(option->out, value);
    case ARG_EACH:
        return add(option->out, value);
    }
    return false;
}

static int unknown(const struct arg_command *command, const char *name)
{
    const char *names[OPTIONS_MAX];
    size_t      count = 0;
    const char *nearest;

    for (const struct arg *option = command->options; option->name && count < OPTIONS_MAX; option++)
        names[count++] = option->name;
    nearest = words_nearest(name, names, count);
    if (nearest)
        return args_wrong(command, "there is no option --%s; did you mean --%s?", name, nearest);
    return args_wrong(command, "there is no option --%s; \"%s --help\" lists them", name, command->name);
}

int args_parse(const struct arg_command *command, int argc, char **argv, struct arg_list *rest)
{
    bool only_rest = false;

    for (int i = 1; i < argc; i++) {
        char             *word = argv[i], *value, name[64];
        const struct arg *option;

        if (only_rest || word[0] != '-' || word[1] == '\0') {
            if (!rest)
                return args_wrong(command, "\"%s\" is not expected; options begin with --", word);
            if (!add(rest, word))
                return args_wrong(command, "%s", fail_text());
            continue;
        }
        if (strcmp(word, "--") == 0) {
            only_rest = true;
            continue;
        }
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            print_help(command);
            return 0;
        }
        if (word[1] != '-')
            return args_wrong(command, "there is no option %s; options begin with --", word);
        value = strchr(word, '=');
        snprintf(name, sizeof name, "%.*s", (int)(value ? value - word - 2 : (long)strlen(word) - 2), word + 2);
        for (option = command->options; option->name && strcmp(option->name, name) != 0; option++)
            ;
        if (!option->name)
            return unknown(command, name);
        if (value)
            value++;
        if (option->type == ARG_FLAG && value)
            return args_wrong(command, "--%s takes no value", name);
        if (option->type != ARG_FLAG && !value && !(value = argv[++i]))
            return args_wrong(command, "--%s wants a value: --%s %s", name, name, option->metavar);
        if (option->type == ARG_TEXT && *value == '\0')
            return args_wrong(command, "--%s is empty; write --%s %s", name, name, option->metavar);
        if (!store(option, value))
            return args_wrong(command, "--%s: %s", name, fail_text());
        if (option->given)
            *option->given = true;
    }
    return -1;
}
