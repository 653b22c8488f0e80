/* list.c -- `assay engines`: what each engine promises and which knobs it has. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/args.h"
#include "common/commands.h"
#include "common/units.h"
#include "engines/engine.h"

static void words_of(uint32_t bits, unsigned count, const char *(*word)(unsigned), char *out, size_t bytes)
{
    size_t used = 0;

    out[0] = '\0';
    for (unsigned i = 0; i < count && used < bytes; i++)
        if (bits & (1u << i))
            used += (size_t)snprintf(out + used, bytes - used, "%s%s", used ? " " : "", word(i));
    if (!used)
        snprintf(out, bytes, "-");
}

static const char *tier_word(unsigned tier)
{
    return kv_tier_word(tier);
}

#define ROW "%-11s %-19s %-27s %s\n" /* 96 columns when it has all tiers; what an engine is stands on a page of its own */

/* The sentence of a plug-in that is not there, without the name that the row begins with. */
static const char *why_not_loaded(const char *name)
{
    const char *why = fail_text();
    size_t      length = strlen(name);

    if (strncmp(why, "engine ", 7) == 0 && strncmp(why + 7, name, length) == 0 && strncmp(why + 7 + length, " is ", 4) == 0)
        return why + 7 + length + 4;
    return why;
}

static void print_row(void *arg, const char *name, const struct kv_engine *engine)
{
    char words[128];

    (void)arg;
    if (!engine) {
        printf("%-11s %s\n", name, why_not_loaded(name));
        return;
    }
    words_of(engine->tiers, KV_TIER_COUNT, tier_word, words, sizeof words);
    printf(ROW, name, engine->version, engine->licence ? engine->licence : "-", words);
}

static void print_engine(const struct kv_engine *engine)
{
    char words[256], size[UNITS_TEXT_MAX];

    printf("%s %s: %s\n\n", engine->name, engine->version, engine->summary);
    words_of(engine->can, KV_CAPABILITIES, kv_capability_word, words, sizeof words);
    printf("  can      %s\n", words);
    words_of(engine->tiers, KV_TIER_COUNT, tier_word, words, sizeof words);
    printf("  tiers    %s\n", words);
    printf("  licence  %s\n", engine->licence ? engine->licence : "-");
    printf("  limits   keys of 1 to %" PRIu32 " bytes, values of up to %s\n", engine->key_bytes_max,
           units_text_bytes(size, engine->value_bytes_max));
    if (!engine->options || !engine->options->name)
        return;
    printf("\n  options (--set %s.NAME=VALUE)\n", engine->name);
    for (const struct kv_option *option = engine->options; option->name; option++) {
        char left[64];
        snprintf(left, sizeof left, "%s=%s", option->name, option->fallback);
        printf("  %-28s %s\n", left, option->help);
    }
}

static json_t *word_list(uint32_t bits, unsigned count, const char *(*word)(unsigned))
{
    json_t *list = json_array();

    for (unsigned i = 0; i < count; i++)
        if (bits & (1u << i))
            json_array_append_new(list, json_string(word(i)));
    return list;
}

static json_t *engine_json(const struct kv_engine *engine)
{
    static const char *const type_words[] = {"bool", "count", "bytes", "time", "real", "word", "text"};
    json_t                  *options = json_array();

    for (const struct kv_option *option = engine->options; option && option->name; option++) {
        json_t *words = json_null();
        if (option->type == KV_WORD) {
            words = json_array();
            for (const char *const *word = option->words; *word; word++)
                json_array_append_new(words, json_string(*word));
        }
        json_array_append_new(options, json_pack("{s:s, s:s, s:s, s:s, s:o}", "name", option->name, "type",
                                                 type_words[option->type], "default", option->fallback, "help",
                                                 option->help, "words", words));
    }
    return json_pack("{s:s, s:s, s:s, s:s?, s:o, s:o, s:I, s:I, s:o}", "name", engine->name, "version", engine->version,
                     "summary", engine->summary, "licence", engine->licence, "capabilities", word_list(engine->can, KV_CAPABILITIES, kv_capability_word),
                     "tiers", word_list(engine->tiers, KV_TIER_COUNT, tier_word), "key_bytes_max",
                     (json_int_t)engine->key_bytes_max, "value_bytes_max", (json_int_t)engine->value_bytes_max, "options",
                     options);
}

static void add_json(void *arg, const char *name, const struct kv_engine *engine)
{
    json_array_append_new(arg, engine ? engine_json(engine)
                                      : json_pack("{s:s, s:s}", "name", name, "not_loaded", why_not_loaded(name)));
}

int command_engines(int argc, char **argv)
{
    bool                    as_json = false;
    const struct arg        options[] = {{"json", ARG_FLAG, &as_json, NULL, "print JSON, for programs", NULL}, {0}};
    const struct arg_command command = {
        "assay engines", "[NAME...] [--json]", "Lists the engines, or shows all about the named ones.", options,
        "  assay engines\n  assay engines bitcask\n  assay engines ./mine.so --json\n"};
    const struct kv_engine *engine;
    struct arg_list         names = {0};
    json_t                 *list;
    int                     code = args_parse(&command, argc, argv, &names);

    if (code >= 0)
        return code;
    list = as_json ? json_array() : NULL;
    for (size_t i = 0; i < names.count && code < 0; i++) {
        if (kv_engine_find(names.item[i], &engine) != KV_OK)
            code = args_wrong(&command, "%s", fail_text());
        else if (as_json)
            add_json(list, engine->name, engine);
        else
            print_engine(engine);
    }
    if (code < 0) {
        code = 0;
        if (!names.count && !as_json)
            printf(ROW, "ENGINE", "VERSION", "LICENCE", "TIERS");
        if (!names.count)
            kv_engine_each(as_json ? add_json : print_row, list);
        if (as_json) {
            json_dumpf(list, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
            putchar('\n');
        }
    }
    json_decref(list);
    return code;
}
