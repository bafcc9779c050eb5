// SPDX-License-Identifier: Apache-2.0
// From a run's configuration to its endpoints: one, several that become arms of the bandit, or none.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "engine/llm/endpoint_set.h"
#include "engine/llm/make_endpoint.h"
#include "engine/search/run_config.h"

namespace kernelites {

/// A new run that names no endpoint replays `recording`, what a model answered in the project's own run of the task;
/// it begins with the seeds which that run had, unless `config` names some. "none" is the tuner alone. False where
/// there is no such file, which leaves the tuner alone though nobody said so.
[[nodiscard]] bool choose_endpoint(RunConfig& config, const std::filesystem::path& recording,
                                   bool is_resumed);

/// What a user should hear of a run that begins, as lines: that nobody answers, and which seeds nobody named.
std::string begin_words(const RunConfig& config, const std::string& task, bool is_answered,
                        bool has_named_seeds);

/// What RunConfig::endpoint says: null is none, an array several. Throws ConfigError.
std::vector<EndpointConfig> endpoint_configs(const Json& endpoint);

/// Owns a run's endpoints.
class RunEndpoints {
 public:
  /// Makes `configs`; each answers with the recorded replies of `replies` (a file, may be empty) where a prompt is the
  /// same. Throws ConfigError if two have one name.
  RunEndpoints(const std::vector<EndpointConfig>& configs, const std::string& replies,
               const EndpointContext& context);
  EndpointSet set() const;

 private:
  std::vector<std::unique_ptr<Endpoint>> all_;
};

}  // namespace kernelites
