// SPDX-License-Identifier: Apache-2.0
// Launches of the harness's own kernels (folder harness/), with their arguments laid out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "evaluators/worker/device/device.h"
#include "evaluators/worker/pipeline/compare.h"
#include "evaluators/worker/pipeline/fill.h"

namespace kernelites::worker {

/// The harness's kernels (folder harness/) as one source; compiled once per worker.
std::string harness_source();

/// Fills `buffer` by `fill`; `map` holds `fill.map` if that is not empty. In order: values, lengths of vectors, NaN in
/// what belongs to nobody.
std::vector<BoundLaunch> fill_launches(ModuleId harness, const Buffer& buffer, const FillOrder& order,
                                       float unit, bool has_invalid, std::uint64_t map);

/// Poison in one of `k_poison_kinds` kinds, from the start of the buffer's mapping to its end.
BoundLaunch poison_launch(ModuleId harness, const Buffer& buffer, std::uint64_t seed, int kind);
inline constexpr int k_poison_kinds = 3;

/// The same for the slack alone.
BoundLaunch slack_launch(ModuleId harness, const Buffer& buffer, std::uint64_t seed, int kind);
/// Compares the slack with what either of the two wrote. `counts`: device address of two u32, to which the bytes that
/// differ before and behind the buffer are added.
BoundLaunch verify_launch(ModuleId harness, const Buffer& buffer, std::uint64_t seed, int kind,
                          std::uint64_t counts);
/// Adds a digest of the whole mapping to the u64 at `sum`. REQUIRES: a real device, whose mappings are whole pages.
BoundLaunch digest_launch(ModuleId harness, const Buffer& buffer, std::uint64_t seed, std::uint64_t sum);

/// Zeros, as a launch, so that it is part of the timed sequence.
BoundLaunch clear_launch(ModuleId harness, const Buffer& buffer);

/// Noise in the shared memory and the registers of every multiprocessor.
BoundLaunch scrub_launch(ModuleId harness, const DeviceFacts& device, std::uint64_t seed);
/// Noise in the local memory that kernels with frames of at most `frame_bytes` have used. `sink`: device address of a
/// scratch word.
BoundLaunch local_scrub_launch(ModuleId harness, const DeviceFacts& device, std::int64_t frame_bytes,
                               std::uint64_t seed, std::uint64_t sink);

/// Spins for about `k_clock_ns` and appends cycles and nanoseconds to a ring of `k_clock_slots` pairs of u64 behind a
/// count of u64, all at `log`.
BoundLaunch clock_launch(ModuleId harness, const Buffer& log);
inline constexpr std::uint32_t k_clock_slots = 128, k_clock_ns = 20000;
inline constexpr std::int64_t k_clock_log_bytes = 8 * (1 + 2 * k_clock_slots);

/// A rival for the multiprocessors, beside what is launched next: by `seed` it takes all but a few of them, half of
/// them, or a part of each, every block for a time of its own, and reads `buffer` here and there.
BoundLaunch rival_launch(ModuleId harness, const DeviceFacts& device, const Buffer& buffer,
                         std::uint64_t seed);
inline constexpr std::uint32_t k_rival_ns_max = 800000;

/// Evicts the L2, lines that were marked to stay included: two launches. `buffer` is larger than the L2.
std::vector<BoundLaunch> flush_launches(ModuleId harness, const Buffer& buffer);

/// Compares `rows` rows as `order` says, addresses filled in; then reduces their results into `worst`.
std::vector<BoundLaunch> compare_launches(ModuleId harness, const CompareOrder& order, std::int64_t rows,
                                          const Buffer& worst);

}  // namespace kernelites::worker
