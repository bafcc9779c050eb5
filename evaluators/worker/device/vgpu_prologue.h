// SPDX-License-Identifier: Apache-2.0
// What a programmatic launch does before it waits for the one before, tried on the virtual GPU before that one ran.
//
// There launches follow each other, so that what a launch reads too early would be there already. A run of the part up
// to griddepcontrol.wait, with memory as it is before the earlier launch, meets it: as bytes that nothing wrote. What
// that part writes counts as unwritten while the earlier launch runs, which must leave it alone.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "evaluators/worker/vgpu/memory.h"

namespace kernelites::worker {

/// The PTX with every griddepcontrol.wait an end of its thread; nothing if it has none.
std::optional<std::string> prologue_ptx(const std::string& ptx);

/// Bytes that a launch wrote before it waited: the launches before it must neither read nor write them.
class EarlyWrites {
 public:
  /// Bytes [begin, end) of `region`, which keeps track of what is written.
  void add(const vgpu::Region& region, std::size_t begin, std::size_t end);
  bool is_empty() const { return ranges_.empty(); }
  /// Makes them count as unwritten until `show`.
  void hide();
  /// The name of memory of which a byte has been written meanwhile; empty if there is none.
  std::string show();

 private:
  struct Range {
    vgpu::u8* initialised = nullptr;
    std::string name;
    std::vector<vgpu::u8> flags;  ///< as they were
  };
  std::vector<Range> ranges_;
};

/// What may be written, with which bytes count as written, put back at the end: a prologue leaves no trace.
class MemorySnapshot {
 public:
  /// Borrows `memory`, which must not gain or lose allocations meanwhile.
  explicit MemorySnapshot(vgpu::Memory& memory);
  ~MemorySnapshot();
  MemorySnapshot(const MemorySnapshot&) = delete;
  MemorySnapshot& operator=(const MemorySnapshot&) = delete;

  /// Adds what is no longer as it was.
  void add_changes(EarlyWrites& writes) const;

  /// Bytes that a snapshot would copy.
  static std::size_t bytes(const vgpu::Memory& memory);

 private:
  struct Saved {
    vgpu::Region region;
    std::vector<vgpu::u8> contents, initialised;
  };
  std::vector<Saved> saved_;
};

}  // namespace kernelites::worker
