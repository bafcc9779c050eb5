// SPDX-License-Identifier: Apache-2.0
// Configurations: of a run, as recorded by one, of an endpoint, steer.json, and kernel jobs.
#include "engine/llm/endpoint_config.h"
#include "engine/search/recorded_config.h"
#include "engine/search/run_config.h"
#include "engine/search/steering.h"
#include "evaluators/worker/kernel_run/kernel_job.h"
#include "tests/fuzz/fuzzed_parser.h"
#include "tools/dataset/redaction.h"

namespace kernelites::fuzz {

void fuzz_config(std::string_view input) {
  Json json;
  if (!is_taken([&] { json = parse_json(input, "fuzz.json"); })) return;
  is_taken([&] {
    const RunConfig config = parse_run_config(json, "fuzz.json");
    demand(parse_run_config(run_config_json(config), "again") == config,
           "a configuration is read back as it was written");
  });
  is_taken([&] { recorded_run_config(json, "fuzz.json"); });
  is_taken([&] {
    const SteeringNames names{.endpoints = {"openai:small"}, .cells = {"direct/fma/tile"}};
    const Steering steering = parse_steering(json, "steer.json", names);
    demand(steering.hints.size() <= k_hints_max, "hints are few");
    for (const std::string& hint : steering.hints) demand(hint.size() <= k_hint_bytes_max, "a hint is short");
    demand(parse_steering(steering_json(steering), "again", names) == steering,
           "steering is read back as it was written");
  });
  is_taken([&] { parse_endpoint_config(json, "fuzz.json", "", "/nowhere"); });
  is_taken([&] { endpoint_config_from_option(std::string(input)); });
  is_taken([&] { worker::parse_kernel_job(json, "job.json"); });
  keys_named_in(json, [](const std::string&) { return std::optional<std::string>("a secret"); });
}

}  // namespace kernelites::fuzz
