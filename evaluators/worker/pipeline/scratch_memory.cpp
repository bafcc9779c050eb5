// SPDX-License-Identifier: Apache-2.0
// Small mappings of a real device, used again and again.
#include "evaluators/worker/pipeline/scratch_memory.h"

#include <algorithm>

namespace kernelites::worker {
namespace {

/// The unit in which devices map memory: what is smaller gets as much.
constexpr std::int64_t k_kept_bytes = std::int64_t{2} << 20;
constexpr std::size_t k_kept_max = 64;

}  // namespace

Buffer ScratchMemory::take(std::int64_t bytes, const char* name) {
  bytes = std::max<std::int64_t>(bytes, 1);
  if (!is_kept(bytes)) return device_.allocate(bytes, name);
  Buffer buffer;
  if (idle_.empty()) {
    buffer = device_.allocate(k_kept_bytes, name);
  } else {
    buffer = idle_.back();
    idle_.pop_back();
  }
  buffer.bytes = bytes;
  buffer.name = name;
  return buffer;
}

bool ScratchMemory::is_kept(std::int64_t bytes) const {
  // The virtual GPU's mappings end with the buffer, and cost nothing: a reference that writes too far is found there.
  return !device_.facts().is_virtual && bytes <= k_kept_bytes;
}

void ScratchMemory::give_back(const Buffer& buffer) {
  if (is_kept(buffer.bytes) && idle_.size() < k_kept_max)
    idle_.push_back(buffer);
  else
    device_.release(buffer);
}

Scratch::~Scratch() {
  for (const Buffer& buffer : taken_) memory_.give_back(buffer);
  for (const Buffer& mapping : kept_) memory_.device().release(mapping);
}

Buffer Scratch::take(std::int64_t bytes, const char* name) {
  taken_.push_back(memory_.take(bytes, name));
  return taken_.back();
}

Buffer Scratch::keep(const Buffer& mapping) {
  kept_.push_back(mapping);
  return mapping;
}

}  // namespace kernelites::worker
