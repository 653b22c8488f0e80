/*
 * result.h -- one result file: schema assay/1, see README.md for every field and schema.json for the tests.
 *
 * A result is a jansson object.  result_new fills in what every kind has; the caller adds its own fields with
 * json_object_set_new and ends with result_write.  One thread builds a result.
 */
#ifndef ASSAY_RESULTS_RESULT_H
#define ASSAY_RESULTS_RESULT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/outfile.h"
#include "engines/engine.h"

#define RESULT_SCHEMA "assay/1"

/* schema, kind, run_id, started_utc, command, build, host (of the file system that holds dir; NULL: the current
 * directory), complete true, an empty list of warnings, calibration null.  A new reference. */
json_t *result_new(const char *kind, int argc, char **argv, const char *dir);

/* Adds a sentence to result["warnings"], or to the warnings of a cell; the same sentence once only. */
__attribute__((format(printf, 2, 3)))
void result_warn(json_t *object, const char *format, ...);

/* An engine as it is to be opened: name, version, summary, licence, capabilities, the tiers it offers, options as text, tier ("volatile" for engines
 * without KV_DURABLE), binary_xxh3 (of the file that holds the engine's code), settings, verified and tier_check null. */
json_t *result_engine(const struct kv_engine *engine, const struct kv_config *config);

/* How an open store is really set up, in the engine's own words: {name: text}; null when the engine does not tell.  Goes into
 * the engine's "settings".  A new reference. */
json_t *result_settings(struct kv_store *store);
/* The same of a store that a child process opens at config->dir for this and leaves there; null also when it cannot be opened.
 * Only while this process has one thread. */
json_t *result_settings_of(const struct kv_engine *engine, const struct kv_config *config);

/* The JSON as the whole content of a file in memory, from one process to another, at any time again; what cannot be written is cut.
 * result_take: NULL when there is nothing, or half of something.  A new reference. */
void    result_publish(const json_t *json, int fd);
json_t *result_take(int fd);

/* Sets wall_s and complete, then writes the file: sorted keys, full precision, whole or not at all.  Takes the
 * reference.  False with fail_set(). */
bool result_write(json_t *result, struct outfile *file, bool complete);

/* Reads a result file of this schema; kind NULL: any.  NULL with fail_set(): names the file, and line and column of a
 * cut or broken one.  A new reference. */
json_t *result_read(const char *path, const char *kind);

/* An integer, or null for KV_UNKNOWN. */
json_t *result_known(uint64_t value);

/* numerator / denominator; null when the denominator is 0 or not a number. */
json_t *result_ratio(double numerator, double denominator);

#endif
