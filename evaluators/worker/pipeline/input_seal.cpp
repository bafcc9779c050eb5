// SPDX-License-Identifier: Apache-2.0
// Digests by a kernel on a real device, by the host where memory is the host's.
#include "evaluators/worker/pipeline/input_seal.h"

#include <algorithm>
#include <cstring>

#include "engine/core/error.h"
#include "evaluators/worker/pipeline/harness_launch.h"

namespace kernelites::worker {
namespace {

constexpr double k_digest_s_max = 30;
constexpr std::size_t k_chunk_bytes = std::size_t{1} << 20;

std::uint64_t host_digest(Device& device, const Buffer& buffer) {
  std::vector<std::byte> chunk;
  std::uint64_t sum = 0xcbf29ce484222325;
  for (std::int64_t at = 0; at < buffer.bytes; at += static_cast<std::int64_t>(chunk.size())) {
    chunk.assign(std::min<std::size_t>(k_chunk_bytes, static_cast<std::size_t>(buffer.bytes - at)), {});
    device.read(buffer, at, chunk);
    for (std::size_t i = 0; i < chunk.size(); i += sizeof(std::uint64_t)) {
      std::uint64_t word = 0;
      std::memcpy(&word, chunk.data() + i, std::min(sizeof word, chunk.size() - i));
      sum = (sum ^ word) * 0x9e3779b97f4a7c15;
      sum ^= sum >> 29;
    }
  }
  return sum;
}

std::vector<std::uint64_t> device_digests(ScratchMemory& memory, ModuleId harness,
                                          const std::vector<Buffer>& inputs) {
  std::vector<std::uint64_t> sums(inputs.size());
  if (sums.empty()) return sums;
  Device& device = memory.device();
  Scratch scratch(memory);
  const Buffer results = scratch.take(static_cast<std::int64_t>(sums.size() * sizeof sums[0]), "digests");
  std::vector<BoundLaunch> launches{clear_launch(harness, results)};
  for (std::size_t i = 0; i < inputs.size(); ++i)
    launches.push_back(digest_launch(harness, inputs[i], i, results.address + i * sizeof sums[0]));
  const SequenceOutcome outcome = device.run({}, launches, RunMode::full, k_digest_s_max);
  if (outcome.fault) throw Error("the inputs' digests failed: " + outcome.fault->message);
  device.read(results, 0, std::as_writable_bytes(std::span(sums)));
  return sums;
}

std::vector<std::uint64_t> digests_of(ScratchMemory& memory, ModuleId harness,
                                      const std::vector<Buffer>& tensors,
                                      const std::vector<std::size_t>& indexes) {
  std::vector<Buffer> inputs;
  for (const std::size_t index : indexes) inputs.push_back(tensors.at(index));
  Device& device = memory.device();
  if (!device.facts().is_virtual) return device_digests(memory, harness, inputs);
  std::vector<std::uint64_t> sums;
  for (const Buffer& input : inputs) sums.push_back(host_digest(device, input));
  return sums;
}

}  // namespace

InputSeal::InputSeal(ScratchMemory& memory, ModuleId harness, const std::vector<Buffer>& tensors,
                     std::vector<std::size_t> inputs)
    : inputs_(std::move(inputs)), digests_(digests_of(memory, harness, tensors, inputs_)) {}

std::vector<std::size_t> InputSeal::changed(ScratchMemory& memory, ModuleId harness,
                                            const std::vector<Buffer>& tensors) const {
  const std::vector<std::uint64_t> now = digests_of(memory, harness, tensors, inputs_);
  std::vector<std::size_t> different;
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    if (now[i] != digests_[i]) different.push_back(inputs_[i]);
  }
  return different;
}

}  // namespace kernelites::worker
