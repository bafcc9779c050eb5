// SPDX-License-Identifier: Apache-2.0
// Registration of allocations and creation of module variables.
#include "evaluators/worker/vgpu/memory.h"

#include <algorithm>

#include <fmt/core.h>

#include "engine/core/error.h"
#include "evaluators/worker/vgpu/program.h"

namespace kernelites::worker::vgpu {
namespace {

/// Numbers above the index of a slot: the least keeps clear of the windows, and addresses stay positive.
constexpr u64 k_least_number = k_first_slot >> k_index_bits;
constexpr u64 k_numbers = (u64{1} << (31 - k_index_bits)) - k_least_number;
constexpr std::size_t k_resting_indices = 64;
constexpr std::size_t k_removed_names = 256;

u64 address_of_slot(u64 slot) { return (slot << 32) + k_slot_offset; }

void write_initial_value(const Program& program, const ModuleVariable& variable, std::vector<u8>& storage) {
  std::copy(variable.bytes.begin(), variable.bytes.end(), storage.begin());
  for (const Relocation& relocation : variable.relocations) {
    const u64 address = program.symbol_address(relocation.symbol) + relocation.addend;
    std::memcpy(storage.data() + relocation.offset, &address, sizeof address);
  }
}

}  // namespace

Memory::Memory(u64 seed) : random_(seed) {}
Memory::~Memory() = default;

u64 Memory::draw() {  // splitmix64
  random_ += 0x9e3779b97f4a7c15ull;
  u64 z = random_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

u64 Memory::add(void* host, std::size_t bytes, std::string name, AllocationOptions options) {
  if (bytes > k_max_allocation) {
    throw Error(fmt::format("the virtual GPU cannot map '{}': {} bytes, the limit is 2 GiB", name, bytes));
  }
  if (allocations_.size() == k_max_allocations && free_.empty()) {
    throw Error(fmt::format("the virtual GPU cannot map '{}': {} tensors are mapped, which is the limit",
                            name, k_max_allocations));
  }
  u32 index = static_cast<u32>(allocations_.size());
  // An index rests while there are others, so that its next number is drawn as late as possible.
  if (free_.size() > k_resting_indices || allocations_.size() == k_max_allocations) {
    index = free_.front();
    free_.pop_front();
  } else {
    allocations_.emplace_back();
  }
  auto allocation = std::make_unique<Allocation>();
  Region& region = allocation->region;
  region.name = std::move(name);
  region.base = address_of_slot((k_least_number + draw() % k_numbers) << k_index_bits | index);
  region.bytes = bytes;
  region.host = static_cast<u8*>(host);
  region.writable = options.writable;
  region.index = index;
  if (options.track_initialised) {
    allocation->shadow.assign(bytes, 0);
    region.initialised = allocation->shadow.data();
  }
  allocations_[index] = std::move(allocation);
  return allocations_[index]->region.base;
}

Memory::Allocation* Memory::find(u64 address) const {
  const u64 slot = address >> 32, index = slot % k_max_allocations;
  if (slot < k_first_slot || index >= allocations_.size() || !allocations_[index]) return nullptr;
  return allocations_[index]->region.base >> 32 == slot ? allocations_[index].get() : nullptr;
}

Memory::Allocation& Memory::at(u64 address) const {
  Allocation* const allocation = find(address);
  KERNELITES_ASSERT(allocation != nullptr);
  return *allocation;
}

void Memory::remove(u64 address) {
  Region& region = at(address).region;
  const u32 index = region.index;
  removed_.emplace_front(address >> 32, std::move(region.name));
  if (removed_.size() > k_removed_names) removed_.pop_back();
  allocations_[index].reset();
  free_.push_back(index);
}

const std::string* Memory::removed_name(u64 address) const {
  for (const auto& [slot, name] : removed_) {
    if (slot == address >> 32) return &name;
  }
  return nullptr;
}

void Memory::mark_initialised(u64 address, std::size_t bytes, bool initialised) {
  Allocation& allocation = at(address);
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
  const Region& region = at(address).region;
  if (region.initialised == nullptr) return region.bytes;
  const u8* begin = region.initialised + (address - region.base);
  const u8* end = region.initialised + region.bytes;
  return static_cast<std::size_t>(std::find(begin, end, u8{0}) - region.initialised);
}

void* Memory::host(u64 address) const {
  const Allocation* const allocation = find(address);
  if (allocation == nullptr) return nullptr;
  const Region& region = allocation->region;
  if (address < region.base || address - region.base > region.bytes) return nullptr;
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
                          .writable = variable.space != Space::constant,
                          .index = static_cast<u32>(k_max_allocations + found->second.size())};
    found->second.push_back(std::move(allocation));
  }
  return found->second;
}

u64 Memory::module_variable(const Program& program, std::string_view name) const {
  return modules_.contains(program.id) ? program.variable_address(name) : 0;
}

}  // namespace kernelites::worker::vgpu
