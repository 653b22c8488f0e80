/*
 * mutant.c -- makes a plug-in of a patched engine, under a name that says which bug was planted.
 *
 * Compiled with MUTANT_NAME ("bitcask+torn-tail-served") and, for an engine that is built in, ENGINE (its table); an
 * engine that is a plug-in itself is compiled with its kv_plugin renamed to planted_plugin.
 */
#include "engines/engine.h"

#ifdef ENGINE
extern const struct kv_engine ENGINE;
#else
const struct kv_engine *planted_plugin(void);
#endif

__attribute__((visibility("default"))) const struct kv_engine *kv_plugin(void);

const struct kv_engine *kv_plugin(void)
{
    static struct kv_engine mutant;

#ifdef ENGINE
    mutant = ENGINE;
#else
    mutant = *planted_plugin();
#endif
    mutant.name    = MUTANT_NAME;
    mutant.summary = "an engine with a bug planted on purpose, to test the crash tester";
    return &mutant;
}
