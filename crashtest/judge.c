#include "crashtest/judge.h"

#include <string.h>

bool judge_store(const struct judge_case *input, const char *dir, struct survey *survey, struct oracle_verdict *out)
{
    struct oracle_promise promise = oracle_promise_of(input->config->durability, input->crash, input->engine->can);
    struct kv_config      config = *input->config;
    struct survey_plan    plan = {.engine = input->engine, .config = &config, .keys = input->keys, .survey = survey,
                                  .seed = input->seed, .life = input->life, .abrupt = input->abrupt,
                                  .refusal_is_fine = promise.nothing};
    struct oracle_case    facts = {.record = input->record, .before = input->before, .after = survey->first,
                                   .keys = input->keys->count, .promise = promise, .death_ns = input->death_ns};

    config.dir = dir;
    memset(survey, 0, sizeof *survey);
    survey_run(&plan, input->timeout_ns, out);
    if (out->verdict != VERDICT_HELD || survey->status != KV_OK)
        return true;
    return oracle_judge(&facts, out);
}
