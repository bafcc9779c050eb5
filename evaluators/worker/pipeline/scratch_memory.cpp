// SPDX-License-Identifier: Apache-2.0
// Small mappings of a real device, used again and again.
#include "evaluators/worker/pipeline/scratch_memory.h"

#include <algorithm>

namespace kernelites::worker {
namespace {

/// The unit in which devices map memory: below it all mappings are of one size.
constexpr std::int64_t k_kept_bytes_max = std::int64_t{2} << 20;
constexpr std::size_t k_kept_max = 64;

}  // namespace

Buffer ScratchMemory::take(std::int64_t bytes, const char* name) {
  bytes = std::max<std::int64_t>(bytes, 1);
  const auto found = std::find_if(idle_.begin(), idle_.end(),
                                  [&](const Buffer& buffer) { return buffer.mapped_bytes >= bytes; });
  if (found == idle_.end()) return device_.allocate(bytes, name);
  Buffer buffer = *found;
  idle_.erase(found);
  buffer.address = buffer.mapped_address;
  buffer.bytes = bytes;
  buffer.name = name;
  return buffer;
}

void ScratchMemory::give_back(const Buffer& buffer) {
  // The virtual GPU's mappings end with the buffer, and cost nothing: a reference that writes too far is found there.
  const bool is_kept =
      !device_.facts().is_virtual && buffer.mapped_bytes <= k_kept_bytes_max && idle_.size() < k_kept_max;
  if (is_kept)
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
