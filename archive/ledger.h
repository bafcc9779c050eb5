// SPDX-License-Identifier: Apache-2.0
// What was paid for what: by arm (endpoint x operator x prompt version) and by candidate.
#pragma once

#include <cstdint>
#include <string>

#include "engine/core/json.h"

namespace kernelites {

/// Sums over model calls.
struct CallSums {
  std::int64_t calls = 0;  ///< ended
  std::int64_t failed = 0;
  std::int64_t input_tokens = 0;
  std::int64_t cached_input_tokens = 0;
  std::int64_t cache_write_tokens = 0;
  std::int64_t output_tokens = 0;
  std::int64_t reasoning_tokens = 0;
  double usd = 0;
  double latency_s = 0;  ///< sum of the calls' own
};

/// One arm.
struct ArmLedger {
  std::string operator_name;
  std::string endpoint;        ///< empty: no model
  std::string prompt_version;  ///< empty: no prompt
  std::int64_t variations = 0;
  std::int64_t rejections = 0;
  std::int64_t candidates = 0;
  std::int64_t passed = 0;  ///< told and not failed
  std::int64_t elites = 0;  ///< entered a cell (added or improved)
  CallSums calls;
  double worker_s = 0;
  double device_s = 0;
  double wall_s = 0;  ///< sum over told candidates: from the ask to the telling
};

/// One candidate. Calls are those of its variation, whole: an agent's inner candidates share them.
struct CandidateLedger {
  CallSums calls;
  double worker_s = 0;
  double device_s = 0;
  double wall_s = 0;  ///< 0: not told
};

void to_json(Json& json, const CallSums& sums);
void to_json(Json& json, const ArmLedger& arm);
void to_json(Json& json, const CandidateLedger& candidate);

}  // namespace kernelites
