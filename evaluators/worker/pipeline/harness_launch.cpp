// SPDX-License-Identifier: Apache-2.0
// Argument layouts of the harness's kernels.
#include "evaluators/worker/pipeline/harness_launch.h"

#include <algorithm>
#include <cstring>

#include "engine/core/embedded_file.h"

namespace kernelites {
extern const std::vector<EmbeddedFile> k_harness_kernels;
}

namespace kernelites::worker {
namespace {

/// Enough blocks to fill any device; the kernels stride.
constexpr std::int64_t k_blocks_max = 2048;

template <typename T>
BoundArgument value(const T& scalar) {
  BoundArgument argument;
  argument.bytes.resize(sizeof scalar);
  std::memcpy(argument.bytes.data(), &scalar, sizeof scalar);
  return argument;
}

template <typename... Values>
BoundLaunch launch(ModuleId module, const char* kernel, std::int64_t blocks, std::uint32_t threads,
                   const Values&... values) {
  BoundLaunch bound{.module = module, .kernel = kernel};
  bound.plan.kernel = kernel;
  bound.plan.grid = {static_cast<std::uint32_t>(std::clamp<std::int64_t>(blocks, 1, UINT32_MAX)), 1, 1};
  bound.plan.block = {threads, 1, 1};
  (bound.arguments.push_back(value(values)), ...);
  return bound;
}

std::int64_t strided_blocks(std::int64_t items, std::int64_t threads) {
  return std::min((items + threads - 1) / threads, k_blocks_max);
}

std::int64_t words(const Buffer& buffer) { return (buffer.bytes + 3) / 4; }

std::int64_t offset_of(const Buffer& buffer) {
  return static_cast<std::int64_t>(buffer.address - buffer.mapped_address);
}
std::int64_t slack_words(const Buffer& buffer) { return (buffer.mapped_bytes - buffer.bytes) / 4 + 2; }

}  // namespace

std::string harness_source() {
  std::string source;
  for (const EmbeddedFile& file : k_harness_kernels) source += file.text;
  return source;
}

std::vector<BoundLaunch> fill_launches(ModuleId harness, const Buffer& buffer, const FillOrder& order,
                                       float unit, bool has_invalid, std::uint64_t map) {
  FillOrder bound = order;
  bound.out = buffer.address;
  bound.map = map;
  const std::int64_t blocks = strided_blocks(order.count, 256);
  std::vector<BoundLaunch> launches{launch(harness, "harness_fill", blocks, 256, bound)};
  if (unit > 0) {
    const std::int64_t vectors = order.count / order.columns;
    launches.push_back(launch(harness, "harness_unit", strided_blocks(vectors, 4), 128, buffer.address,
                              order.dtype, vectors, order.columns, unit));
  }
  if (has_invalid) {
    launches.push_back(launch(harness, "harness_invalid", blocks, 256, buffer.address, order.count,
                              order.dtype, map, order.leading, order.tokens, order.inner));
  }
  return launches;
}

BoundLaunch poison_launch(ModuleId harness, const Buffer& buffer, std::uint64_t seed, int kind) {
  return launch(harness, "harness_poison", strided_blocks(buffer.mapped_bytes / 4 + 1, 256), 256,
                buffer.mapped_address, buffer.mapped_bytes, seed, kind);
}

BoundLaunch slack_launch(ModuleId harness, const Buffer& buffer, std::uint64_t seed, int kind) {
  return launch(harness, "harness_slack", strided_blocks(slack_words(buffer), 256), 256,
                buffer.mapped_address, buffer.mapped_bytes, offset_of(buffer),
                offset_of(buffer) + buffer.bytes, seed, kind);
}

BoundLaunch verify_launch(ModuleId harness, const Buffer& buffer, std::uint64_t seed, int kind,
                          std::uint64_t counts) {
  return launch(harness, "harness_verify", strided_blocks(slack_words(buffer), 256), 256,
                buffer.mapped_address, buffer.mapped_bytes, offset_of(buffer),
                offset_of(buffer) + buffer.bytes, seed, kind, counts);
}

BoundLaunch digest_launch(ModuleId harness, const Buffer& buffer, std::uint64_t seed, std::uint64_t sum) {
  const std::int64_t pairs = buffer.mapped_bytes / 16;
  return launch(harness, "harness_digest", strided_blocks(pairs, 256), 256, buffer.mapped_address, pairs,
                seed, sum);
}

BoundLaunch clear_launch(ModuleId harness, const Buffer& buffer) {
  return launch(harness, "harness_clear", strided_blocks(words(buffer), 256), 256, buffer.address,
                buffer.bytes);
}

BoundLaunch scrub_launch(ModuleId harness, const DeviceFacts& device, std::uint64_t seed) {
  const auto bytes = static_cast<std::uint32_t>(device.shared_bytes_per_block_max);
  // Each block takes a multiprocessor for itself; twice as many as there are, should one get two of the first wave.
  BoundLaunch bound = launch(harness, "harness_scrub", 2 * device.sm_count, 1024, seed, bytes / 4);
  bound.plan.shared_bytes = bytes;
  bound.plan.carveout_percent = 100;
  return bound;
}

BoundLaunch local_scrub_launch(ModuleId harness, const DeviceFacts& device, std::int64_t frame_bytes,
                               std::uint64_t seed, std::uint64_t sink) {
  const char* const kernel = frame_bytes <= 512    ? "harness_scrub_local_512"
                             : frame_bytes <= 4096 ? "harness_scrub_local_4096"
                                                   : "harness_scrub_local_16384";
  return launch(harness, kernel, 4 * device.sm_count, 1024, seed, sink);
}

BoundLaunch clock_launch(ModuleId harness, const Buffer& log) {
  return launch(harness, "harness_clock", 1, 1, log.address, k_clock_slots, k_clock_ns);
}

BoundLaunch rival_launch(ModuleId harness, const DeviceFacts& device, const Buffer& buffer,
                         std::uint64_t seed) {
  const std::uint64_t way = seed % 3, free = std::uint64_t{1} << (seed / 3 % 4);  // 1 to 8 multiprocessors
  const std::uint32_t longest_ns = k_rival_ns_max >> (2 * (seed / 12 % 3));
  const std::int64_t all = device.sm_count;
  const std::int64_t blocks = way == 0 ? all - static_cast<std::int64_t>(free) : way == 1 ? all / 2 : 2 * all;
  BoundLaunch bound = launch(harness, "harness_rival", blocks, 256, buffer.address, buffer.bytes / 16, seed,
                             longest_ns, std::uint32_t{0x51ED270B});
  // All shared memory of a multiprocessor: no other block fits beside it.
  if (way < 2) {
    bound.plan.shared_bytes = static_cast<std::uint32_t>(device.shared_bytes_per_block_max);
    bound.plan.carveout_percent = 100;
  }
  bound.is_beside = true;
  return bound;
}

std::vector<BoundLaunch> flush_launches(ModuleId harness, const Buffer& buffer) {
  const std::int64_t vectors = buffer.bytes / 16, lines = buffer.bytes / 128;
  return {launch(harness, "harness_flush", strided_blocks(vectors, 512), 512, buffer.address, vectors,
                 std::uint32_t{0x51ED270B}),
          launch(harness, "harness_demote", strided_blocks(lines, 512), 512, buffer.address, lines)};
}

std::vector<BoundLaunch> compare_launches(ModuleId harness, const CompareOrder& order, std::int64_t rows,
                                          const Buffer& worst) {
  const bool is_selection = order.compare == static_cast<std::int32_t>(Compare::selection);
  const std::int64_t results = rows * order.parts;
  return {launch(harness, is_selection ? "harness_select" : "harness_compare", results, 128, order),
          launch(harness, "harness_worst", 1, 256, order.results, results, worst.address)};
}

}  // namespace kernelites::worker
