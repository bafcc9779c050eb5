// SPDX-License-Identifier: Apache-2.0
// Effects for tests: one that is right, and random ones from a small pool of changes.
#pragma once

#include <algorithm>
#include <string>

#include "engine/core/digest.h"
#include "engine/core/effect.h"
#include "engine/core/evaluation.h"
#include "engine/core/rng.h"

namespace kernelites {

/// Of the change number `change`, which made a kernel faster by about a fifth.
inline Effect sample_effect(int change) {
  Effect effect{.parent = digest("parent " + std::to_string(change)),
                .pair = digest("pair " + std::to_string(change)),
                .task = "gqa_decode_splitkv",
                .family = "decode",
                .dtype = "bf16",
                .architecture = "sm_90a",
                .device = "NVIDIA H100 80GB HBM3",
                .toolkit = "NVRTC 13.0",
                .harness_version = k_harness_version,
                .state = "memory_latency",
                .shape_class = "long_memory",
                .techniques = {"use_async_copies"},
                .measures = {{"op_async_copies", {0, 12}}},
                .outcome = EffectOutcome::faster,
                .log_gain = 0.18,
                .log_gain_low = 0.16,
                .log_gain_high = 0.2,
                .rounds = 60,
                .is_paired = true,
                .measured_unix_s = 1.79e9};
  effect.id = effect_id("parent", std::to_string(change), "task-1", effect);
  return effect;
}

/// One of eight changes, as one of several measurements of it.
inline Effect random_effect(Rng& rng) {
  Effect effect = sample_effect(static_cast<int>(rng.below(8)));
  effect.log_gain = 0.1 * static_cast<double>(rng.below(3));
  const double half = 0.01 * static_cast<double>(1 + rng.below(3));
  effect.log_gain_low = effect.log_gain - half;
  effect.log_gain_high = effect.log_gain + half;
  effect.outcome = static_cast<EffectOutcome>(rng.below(4));
  effect.measured_unix_s = 1.79e9 + static_cast<double>(rng.below(2));
  return effect;
}

inline EffectSet random_effects(Rng& rng) {
  EffectSet set;
  for (std::uint64_t i = rng.below(6); i > 0; --i) set.add(random_effect(rng));
  if (rng.uniform() < 0.3) set.forget(sample_effect(static_cast<int>(rng.below(8))).id);
  return set;
}

}  // namespace kernelites
