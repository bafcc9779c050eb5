// SPDX-License-Identifier: Apache-2.0
// The key that modelled times derive from (DuelRequest::model_key): of a run, and of commands without one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "archive/archive.h"
#include "engine/llm/endpoint_config.h"

namespace kernelites {

/// Of a run that goes on (`resumed`) its own, of a fork that of the run in folder `fork` (empty: none), whose replies
/// answer to its times. Fixed where no model answers that could learn from times: golden runs, and runs of recorded
/// replies alone. Otherwise drawn.
Key run_model_key(const std::optional<RunRecord>& resumed, const std::string& fork,
                  const std::vector<EndpointConfig>& endpoints, bool is_deterministic);

/// A line for the run's start where its modelled times (`is_modelled`) have the key that everybody knows and somebody
/// answers who could use it: a run of recorded replies that goes on with a model, or its fork. Else empty.
std::string model_key_warning(const Key& key, const std::vector<EndpointConfig>& endpoints, bool is_modelled);

/// From `--model-key`: 64 hex digits, or nothing, which draws one. Throws ConfigError.
Key model_key_option(const std::string& hex);

inline constexpr const char* k_model_key_words =
    "64 hex digits: modelled times come out the same wherever it is the same (default: drawn)";

}  // namespace kernelites
