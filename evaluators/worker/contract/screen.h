// SPDX-License-Identifier: Apache-2.0
// The screen: what compiled code may not contain, judged on the PTX tokens and ELF sections of the one
// compile.
//
// Source greps are tripwires; inline assembly can add entries and globals that no C++ parser sees. The PTX of
// the same compile is a clean token stream, and the ELF sections decide structurally whether state can
// persist.
#pragma once

#include <optional>

#include "engine/core/verdict.h"
#include "evaluators/worker/contract/compiled_candidate.h"
#include "evaluators/worker/contract/defences.h"

namespace kernelites::worker {

/// Initialised module data and user constants a candidate may carry, each.
inline constexpr std::int64_t k_module_data_bytes_max = 64 * 1024;
/// Local memory per thread. A context holds it for all threads that a device can run at once, 2048 on each of 132
/// multiprocessors of an H100: this is 2.2 GB there, and a resize that all later timings would feel.
inline constexpr std::int64_t k_local_bytes_max = 8 * 1024;
/// Machine code per module.
inline constexpr std::int64_t k_code_bytes_max = 4 << 20;

/// A verdict of stage "screen" if the module holds something forbidden (clock and launch-counter reads,
/// writable module state, hidden entries, external symbols, edited tensor maps), else nothing.
std::optional<Verdict> screen(const CompiledCandidate& candidate, const Defences& defences = {});
/// Remarks that do not fail: cache policies, prefetches, griddepcontrol without a programmatic launch.
std::vector<std::string> screen_remarks(const CompiledCandidate& candidate);

}  // namespace kernelites::worker
