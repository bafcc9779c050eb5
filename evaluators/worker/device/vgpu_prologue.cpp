// SPDX-License-Identifier: Apache-2.0
// Text for text, byte for byte.
#include "evaluators/worker/device/vgpu_prologue.h"

#include <algorithm>
#include <string_view>

namespace kernelites::worker {

std::optional<std::string> prologue_ptx(const std::string& ptx) {
  constexpr std::string_view k_wait = "griddepcontrol.wait", k_end = "exit";
  std::string prologue;
  std::size_t done = 0;
  for (std::size_t at; (at = ptx.find(k_wait, done)) != std::string::npos; done = at + k_wait.size()) {
    prologue.append(ptx, done, at - done);
    prologue += k_end;
  }
  if (done == 0) return std::nullopt;
  prologue.append(ptx, done);
  return prologue;
}

MemorySnapshot::MemorySnapshot(vgpu::Memory& memory) {
  for (const auto& allocation : memory.allocations()) {
    if (!allocation || !allocation->region.writable) continue;
    const vgpu::Region& region = allocation->region;
    Saved saved{.region = region, .contents = {region.host, region.host + region.bytes}, .initialised = {}};
    if (region.initialised) saved.initialised.assign(region.initialised, region.initialised + region.bytes);
    saved_.push_back(std::move(saved));
  }
}

MemorySnapshot::~MemorySnapshot() {
  for (const Saved& saved : saved_) {
    std::copy(saved.contents.begin(), saved.contents.end(), saved.region.host);
    std::copy(saved.initialised.begin(), saved.initialised.end(), saved.region.initialised);
  }
}

void MemorySnapshot::add_changes(EarlyWrites& writes) const {
  for (const Saved& saved : saved_) {
    if (!saved.region.initialised) continue;
    const auto is_changed = [&](std::size_t i) {
      return saved.region.host[i] != saved.contents[i] || saved.region.initialised[i] != saved.initialised[i];
    };
    for (std::size_t begin = 0, end; begin < saved.contents.size(); begin = end + 1) {
      for (end = begin; end < saved.contents.size() && is_changed(end);) ++end;
      if (end > begin) writes.add(saved.region, begin, end);
    }
  }
}

void EarlyWrites::add(const vgpu::Region& region, std::size_t begin, std::size_t end) {
  ranges_.push_back({.initialised = region.initialised + begin,
                     .name = region.name,
                     .flags = std::vector<vgpu::u8>(end - begin)});
}

void EarlyWrites::hide() {
  for (Range& range : ranges_) {
    std::copy_n(range.initialised, range.flags.size(), range.flags.begin());
    std::fill_n(range.initialised, range.flags.size(), vgpu::u8{0});
  }
}

std::string EarlyWrites::show() {
  std::string written;
  // Backwards, since two launches may have written a byte.
  for (auto it = ranges_.rbegin(); it != ranges_.rend(); ++it) {
    const Range& range = *it;
    for (std::size_t i = 0; i < range.flags.size(); ++i) {
      if (range.initialised[i] != 0)
        written = range.name;
      else
        range.initialised[i] = range.flags[i];
    }
  }
  return written;
}

std::size_t MemorySnapshot::bytes(const vgpu::Memory& memory) {
  std::size_t bytes = 0;
  for (const auto& allocation : memory.allocations()) {
    if (allocation && allocation->region.writable)
      bytes += static_cast<std::size_t>(allocation->region.bytes);
  }
  return bytes;
}

}  // namespace kernelites::worker
