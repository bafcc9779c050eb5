// SPDX-License-Identifier: Apache-2.0
// Registration of allocations and creation of module variables.
#include "evaluators/worker/vgpu/memory.h"

#include <algorithm>

#include <fmt/core.h>

#include "engine/core/error.h"
#include "evaluators/worker/vgpu/program.h"

namespace kernelites::worker::vgpu {
namespace {

u64 address_of_slot(u64 slot) { return (slot << 32) + k_slot_offset; }

void write_initial_value(const Program& program, const ModuleVariable& variable, std::vector<u8>& storage) {
  std::copy(variable.bytes.begin(), variable.bytes.end(), storage.begin());
  for (const Relocation& relocation : variable.relocations) {
    const u64 address = program.symbol_address(relocation.symbol) + relocation.addend;
    std::memcpy(storage.data() + relocation.offset, &address, sizeof address);
  }
}

}  // namespace

Memory::Memory() = default;
Memory::~Memory() = default;

u64 Memory::add(void* host, std::size_t bytes, std::string name, AllocationOptions options) {
  if (bytes > k_max_allocation) {
    throw Error(fmt::format("the virtual GPU cannot map '{}': {} bytes, the limit is 2 GiB", name, bytes));
  }
  auto allocation = std::make_unique<Allocation>();
  Region& region = allocation->region;
  region.name = std::move(name);
  region.base = address_of_slot(k_first_slot + allocations_.size());
  region.bytes = bytes;
  region.host = static_cast<u8*>(host);
  region.writable = options.writable;
  if (options.track_initialised) {
    allocation->shadow.assign(bytes, 0);
    region.initialised = allocation->shadow.data();
  }
  allocations_.push_back(std::move(allocation));
  return allocations_.back()->region.base;
}

namespace {
Region& region_at(const std::vector<std::unique_ptr<Memory::Allocation>>& allocations, u64 address) {
  const u64 slot = address >> 32;
  KERNELITES_ASSERT(slot >= k_first_slot && slot - k_first_slot < allocations.size());
  return allocations[slot - k_first_slot]->region;
}
}  // namespace

void Memory::remove(u64 address) {
  Region& region = region_at(allocations_, address);
  region.removed = true;
  region.host = nullptr;
}

void Memory::mark_initialised(u64 address, std::size_t bytes, bool initialised) {
  Allocation& allocation = *allocations_.at((address >> 32) - k_first_slot);
  Region& region = allocation.region;
  KERNELITES_ASSERT(address >= region.base && address - region.base + bytes <= region.bytes);
  if (region.initialised == nullptr) {
    if (initialised) return;
    allocation.shadow.assign(region.bytes, 1);
    region.initialised = allocation.shadow.data();
  }
  std::memset(region.initialised + (address - region.base), initialised ? 1 : 0, bytes);
}

std::size_t Memory::first_uninitialised(u64 address) const {
  const Region& region = region_at(allocations_, address);
  if (region.initialised == nullptr) return region.bytes;
  const u8* begin = region.initialised + (address - region.base);
  const u8* end = region.initialised + region.bytes;
  return static_cast<std::size_t>(std::find(begin, end, u8{0}) - region.initialised);
}

void* Memory::host(u64 address) const {
  const u64 slot = address >> 32;
  if (slot < k_first_slot || slot - k_first_slot >= allocations_.size()) return nullptr;
  const Region& region = allocations_[slot - k_first_slot]->region;
  if (region.removed || address < region.base || address - region.base > region.bytes) return nullptr;
  return region.host + (address - region.base);
}

const std::vector<std::unique_ptr<Memory::Allocation>>& Memory::module_of(const Program& program) {
  auto [found, is_new] = modules_.try_emplace(program.id);
  if (!is_new) return found->second;
  for (const ModuleVariable& variable : program.variables) {
    auto allocation = std::make_unique<Allocation>();
    allocation->storage.assign(std::max<u64>(variable.size, 1), 0);
    write_initial_value(program, variable, allocation->storage);
    allocation->region = {.name = "module variable '" + variable.name + "'",
                          .base = variable.address,
                          .bytes = variable.size,
                          .host = allocation->storage.data(),
                          .writable = variable.space != Space::constant};
    found->second.push_back(std::move(allocation));
  }
  return found->second;
}

u64 Memory::module_variable(const Program& program, std::string_view name) const {
  return modules_.contains(program.id) ? program.variable_address(name) : 0;
}

}  // namespace kernelites::worker::vgpu
