// SPDX-License-Identifier: Apache-2.0
// Making endpoints, with recorded replies before them where there are any.
#include "tools/run_endpoints.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>

#include "engine/core/error.h"
#include "engine/llm/fork_endpoint.h"
#include "engine/llm/record.h"

namespace kernelites {
namespace {

EndpointConfig endpoint_config(const Json& endpoint) {
  if (endpoint.is_string()) return endpoint_config_from_option(endpoint.get<std::string>());
  return parse_endpoint_config(endpoint, "configuration", "endpoint", std::filesystem::current_path());
}

}  // namespace

bool choose_endpoint(RunConfig& config, const std::filesystem::path& recording, bool is_resumed) {
  if (config.endpoint == "none") {
    config.endpoint = nullptr;
    return true;
  }
  if (!config.endpoint.is_null() || is_resumed || !config.replies.empty()) return true;
  if (!std::filesystem::exists(recording)) return false;
  config.endpoint = Json{{"kind", "replay"}, {"recording", recording.string()}, {"match", "cycle"}};
  if (config.seeds.empty()) config.seeds = seeds_of_recording(recording);
  return true;
}

std::string begin_words(const RunConfig& config, const std::string& task, bool is_answered,
                        bool has_named_seeds) {
  std::string words;
  if (!is_answered)
    words += fmt::format(
        "no replies were recorded for {}: this is the tuner alone, which varies what a kernel declares; "
        "--endpoint "
        "names a model\n",
        task);
  if (!config.seeds.empty() && !has_named_seeds)
    words += fmt::format("it begins with {}, as the recorded run did; --seeds chooses others\n",
                         fmt::join(config.seeds, ", "));
  return words;
}

std::vector<EndpointConfig> endpoint_configs(const Json& endpoint) {
  std::vector<EndpointConfig> configs;
  if (endpoint.is_null()) return configs;
  if (!endpoint.is_array()) return {endpoint_config(endpoint)};
  for (const Json& one : endpoint) configs.push_back(endpoint_config(one));
  return configs;
}

RunEndpoints::RunEndpoints(const std::vector<EndpointConfig>& configs, const std::string& replies,
                           const EndpointContext& context) {
  for (const EndpointConfig& config : configs) all_.push_back(make_endpoint(config, context));
  if (!replies.empty()) {
    if (all_.empty()) all_.push_back(nullptr);
    for (auto& endpoint : all_)
      endpoint = std::make_unique<ForkEndpoint>(read_recording(replies), std::move(endpoint));
  }
  std::set<std::string> names;
  for (const auto& endpoint : all_)
    if (!names.insert(endpoint->name()).second)
      throw ConfigError(
          "configuration", "endpoint",
          fmt::format("two of them are named \"{}\": their costs could not be told apart", endpoint->name()));
}

EndpointSet RunEndpoints::set() const {
  std::vector<Endpoint*> all;
  for (const auto& endpoint : all_) all.push_back(endpoint.get());
  return EndpointSet(std::move(all));
}

}  // namespace kernelites
