// SPDX-License-Identifier: Apache-2.0
// Device memory as the virtual GPU sees it: named allocations of host memory at virtual device addresses.
//
// A device address is (slot << 32) + offset. Every allocation has a slot of its own and begins 1 GiB into it, so
// looking an address up is one index, a pointer that runs off either end still lies in the slot of the tensor it
// came from, and the message can name that tensor. A slot is an index into the table of allocations below a number that
// is drawn for each allocation: a kernel cannot reckon the address of one tensor from another's, and an index can serve
// again while stale pointers still miss. Some slots are windows: shared, local and parameter memory seen through
// generic addresses, and the variables of the running module.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "evaluators/worker/vgpu/types.h"

namespace kernelites::worker::vgpu {

class Program;

inline constexpr u64 k_shared_slot = 0x10;
inline constexpr u64 k_local_slot = 0x11;
inline constexpr u64 k_parameter_slot = 0x12;
inline constexpr u64 k_grid_slot = 0x13;      ///< workspace of cooperative groups' grid barrier
inline constexpr u64 k_function_slot = 0x14;  ///< addresses of functions; nothing is mapped
inline constexpr u64 k_module_slot = 0x20;    ///< first variable of the module; one slot each
inline constexpr u64 k_module_slots = 0x1000;
inline constexpr u64 k_first_slot = 0x2000;  ///< of allocations; all others lie below
inline constexpr u64 k_index_bits = 12;      ///< of a slot: the index; the drawn number lies above
inline constexpr u64 k_max_allocations = 1ull << k_index_bits;
inline constexpr u64 k_slot_offset = 1ull << 30;  ///< where an allocation begins in its slot
inline constexpr u64 k_max_allocation = 1ull << 31;

/// One mapped range. `initialised`, where present, holds one byte per byte: 0 while nothing wrote it.
struct Region {
  std::string name;
  u64 base = 0, bytes = 0;
  u8* host = nullptr;
  u8* initialised = nullptr;
  bool writable = true;
  /// Distinct for all regions of a launch, and small: allocations count from 0, what else is mapped follows.
  u32 index = 0;
};

/// How an allocation is watched.
struct AllocationOptions {
  bool writable = true;
  bool track_initialised = false;  ///< true: the contents count as unwritten until a kernel writes them
};

/// The allocations that launches may touch. The host memory belongs to the caller and must outlive its entry.
/// Not thread-safe: one launch at a time, and nothing changed during it.
class Memory {
 public:
  /// `seed` draws the addresses; a candidate must not know it.
  explicit Memory(u64 seed = 0);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  /// Registers `bytes` at `host` under a name for messages; returns the device address (aligned to 1 GiB).
  /// Throws Error for more than 2 GiB, or more than 4096 allocations at once.
  u64 add(void* host, std::size_t bytes, std::string name, AllocationOptions options = {});
  /// Forgets an allocation; later accesses are faults that name it. REQUIRES: `address` came from add.
  void remove(u64 address);
  /// Marks bytes as written (from outside) or as unwritten. REQUIRES: the range lies in one allocation.
  void mark_initialised(u64 address, std::size_t bytes, bool initialised);
  /// The first byte at or after `address` in its allocation that no kernel wrote, as an offset into the allocation;
  /// its size if all are written or the allocation is not tracked. For outputs that must be complete.
  std::size_t first_uninitialised(u64 address) const;
  /// Host pointer of a device address, or null if unmapped.
  void* host(u64 address) const;
  /// A variable of a program that has run here: its device address, or 0 (for tests and for hashing module state).
  u64 module_variable(const Program& program, std::string_view name) const;

  struct Allocation;
  /// The variables of `program`, created and initialised at the first call. For the interpreter.
  const std::vector<std::unique_ptr<Allocation>>& module_of(const Program& program);
  /// By index; null where none is at present. For the interpreter.
  const std::vector<std::unique_ptr<Allocation>>& allocations() const { return allocations_; }
  /// Name of an allocation that has been removed (not too long ago) and would contain `address`; else null.
  const std::string* removed_name(u64 address) const;

 private:
  Allocation* find(u64 address) const;
  Allocation& at(u64 address) const;
  u64 draw();

  std::vector<std::unique_ptr<Allocation>> allocations_;
  std::deque<u32> free_;                             ///< indices, longest free first
  std::deque<std::pair<u64, std::string>> removed_;  ///< slots and names, latest first
  u64 random_;
  std::unordered_map<u64, std::vector<std::unique_ptr<Allocation>>> modules_;  ///< by program id
};

/// A region and the memory it owns.
struct Memory::Allocation {
  Region region;
  std::vector<u8> shadow;   ///< backs region.initialised
  std::vector<u8> storage;  ///< backs region.host of a module variable
};

}  // namespace kernelites::worker::vgpu
