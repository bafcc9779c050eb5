// SPDX-License-Identifier: Apache-2.0
// The shadow of global memory.
#include "evaluators/worker/vgpu/global_race.h"

#include <algorithm>

namespace kernelites::worker::vgpu {
namespace {

// An entry, from the lowest bit: unit 24 | stamp 20 | strength 2 | several 1 | pc 17; 0: none. For several readers the
// unit is their list's index; where blocks cannot be ordered it is one of them, and the pc is k_one_block if all are of
// one block (the stamp is the latest then).
constexpr u32 k_unit_bits = 24, k_stamp_bits = 20, k_pc_bits = 17;
constexpr u32 k_stamp_at = k_unit_bits, k_strength_at = 44, k_several_at = 46, k_pc_at = 47;
constexpr u64 k_last_stamp = (u64{1} << k_stamp_bits) - 1;
constexpr u64 k_last_pc = (u64{1} << k_pc_bits) - 1;
constexpr u64 k_last_unit = (u64{1} << k_unit_bits) - 1;
constexpr u64 k_several = u64{1} << k_several_at;
constexpr u64 k_one_block = 1;
/// Of a launch: 144 MiB.
constexpr std::size_t k_pages_max = 3072;
constexpr std::size_t k_lists_max = std::size_t{1} << 20, k_published_max = std::size_t{1} << 15,
                      k_stored_max = std::size_t{1} << 20;
constexpr u32 k_sector_shift = 5;

enum Strength : u8 { weak, strong_in_block, strong_everywhere };

u32 unit_of(u64 entry) { return static_cast<u32>(entry & k_last_unit); }
u64 stamp_of(u64 entry) { return entry >> k_stamp_at & k_last_stamp; }
Strength strength_of(u64 entry) { return static_cast<Strength>(entry >> k_strength_at & 3); }

Strength strength_of(const GlobalAccess& access) {
  if (access.is_update || (access.flags & k_strong_access) != 0) {
    return (access.flags & k_block_access) != 0 ? strong_in_block : strong_everywhere;
  }
  return weak;
}

u64 entry_of(const GlobalAccess& access, const BlockOrder& order) {
  return u64{order.unit(access.warp)} | std::min<u64>(order.now(), k_last_stamp) << k_stamp_at |
         u64{strength_of(access)} << k_strength_at | std::min<u64>(access.pc, k_last_pc) << k_pc_at;
}

bool is_of_block(u64 entry, const BlockOrder& order) {
  return unit_of(entry) - order.unit(0) < order.warps();
}

bool are_strong(u64 entry, const GlobalAccess& access, const BlockOrder& order) {
  const Strength least = std::min(strength_of(entry), strength_of(access));
  return least == strong_everywhere || (least == strong_in_block && is_of_block(entry, order));
}

/// May the first-level cache answer a load, or keep what it brings?
bool is_cached_load(const GlobalAccess& access) {
  return access.is_load && strength_of(access) == weak && (access.flags & k_uncached_access) == 0;
}

u64 sector_of(const Region& region, u32 offset) { return (region.base + offset) >> k_sector_shift; }

}  // namespace

GlobalRaces::GlobalRaces(u32 granule, bool tracks)
    : shift_(static_cast<u32>(__builtin_ctz(granule))), tracks_(tracks) {}

GlobalRaces::Page* GlobalRaces::page(const Region& region, u32 granule) {
  if (shadows_.size() <= region.index) shadows_.resize(region.index + 1);
  auto& pages = shadows_[region.index].pages;
  const std::size_t index = granule >> k_page_shift;
  if (pages.size() <= index)
    pages.resize(std::max<std::size_t>(index + 1, region.bytes >> shift_ >> k_page_shift));
  if (!pages[index]) {
    if (++page_count_ > k_pages_max) return is_on_ = false, nullptr;
    pages[index] = std::make_unique<Page>();
  }
  return pages[index].get();
}

bool GlobalRaces::is_ordered(u64 entry, const GlobalAccess& access, const BlockOrder& order) const {
  if (unit_of(entry) == order.unit(access.warp)) return true;
  const u64 stamp = stamp_of(entry);
  if (stamp == k_last_stamp) return is_of_block(entry, order) || tracks_;  // ran out of stamps
  return order.knows_unit(access.warp, unit_of(entry), static_cast<u32>(stamp));
}

void GlobalRaces::check_writer(u64 entry, const GlobalAccess& access, const BlockOrder& order, u32 lane,
                               u64 byte, GlobalConflicts& found) const {
  if (are_strong(entry, access, order) || is_ordered(entry, access, order)) return;
  if (!found.empty() && found.back().lane == lane && found.back().is_with_write) return;
  const u64 pc = entry >> k_pc_at;
  found.push_back({.lane = lane,
                   .byte = byte,
                   .is_with_write = true,
                   .is_strong = strength_of(entry) != weak,
                   .other_unit = unit_of(entry),
                   .is_in_block = is_of_block(entry, order),
                   .other_pc = pc == k_last_pc ? ~0u : static_cast<u32>(pc)});
}

void GlobalRaces::check_reader(u64 entry, const GlobalAccess& access, const BlockOrder& order, u32 lane,
                               u64 byte, GlobalConflicts& found) const {
  auto add = [&](u32 unit, bool is_in_block) {
    if (!found.empty() && found.back().lane == lane && !found.back().is_with_write) return;
    found.push_back(
        {.lane = lane, .byte = byte, .is_with_write = false, .other_unit = unit, .is_in_block = is_in_block});
  };
  auto check = [&](u64 reader) {
    if (reader != 0 && !are_strong(reader, access, order) && !is_ordered(reader, access, order))
      add(unit_of(reader), is_of_block(reader, order));
  };
  if ((entry & k_several) == 0) return check(entry);
  if (tracks_) {
    for (u64 reader : lists_[unit_of(entry)].readers) check(reader);
    return;
  }
  // Several blocks are ordered by nothing; several warps of one block by its barriers.
  const bool is_own_block = entry >> k_pc_at == k_one_block && is_of_block(entry, order);
  if (!is_own_block || stamp_of(entry) > order.floor()) add(~0u, is_own_block);
}

bool GlobalRaces::is_stale(u64 sector, const BlockOrder& order) const {
  const u64 cached = order.cached_at(sector);
  if (cached == 0) return false;
  const auto found = stored_.find(sector);
  if (found == stored_.end()) return false;
  const Stored& stored = found->second;
  return cached < (stored.block == order.block() ? stored.time_of_others : stored.time);
}

void GlobalRaces::check_stale(u64 writer, const Region& region, const GlobalAccess& access,
                              const BlockOrder& order, u32 lane, GlobalConflicts& found) const {
  if (is_of_block(writer, order) || !is_stale(sector_of(region, access.offsets[lane]), order)) return;
  if (!found.empty() && found.back().lane == lane && found.back().is_with_write) return;
  const u64 pc = writer >> k_pc_at;
  found.push_back({.lane = lane,
                   .byte = access.offsets[lane],
                   .is_with_write = true,
                   .is_strong = strength_of(writer) != weak,
                   .other_unit = unit_of(writer),
                   .is_stale = true,
                   .other_pc = pc == k_last_pc ? ~0u : static_cast<u32>(pc)});
}

void GlobalRaces::check_constant(u64 writer, const BlockOrder& order, u32 lane, u64 byte,
                                 GlobalConflicts& found) const {
  if (!found.empty() && found.back().lane == lane && found.back().is_with_write) return;
  const u64 pc = writer >> k_pc_at;
  found.push_back({.lane = lane,
                   .byte = byte,
                   .is_with_write = true,
                   .is_strong = strength_of(writer) != weak,
                   .other_unit = unit_of(writer),
                   .is_in_block = is_of_block(writer, order),
                   .is_constant = true,
                   .other_pc = pc == k_last_pc ? ~0u : static_cast<u32>(pc)});
}

/// Remembers which sectors a weak load may have brought into the first-level cache, and which a store has changed.
void GlobalRaces::note_sectors(const Region& region, const GlobalAccess& access, BlockOrder& order) {
  if (access.is_load && !is_cached_load(access)) return;
  u64 last = ~u64{0};
  for (Mask rest = access.mask; rest != 0; rest &= rest - 1) {
    const u64 sector = sector_of(region, access.offsets[__builtin_ctz(rest)]);
    if (sector == last) continue;
    last = sector;
    if (access.is_load) {
      order.note_cached(sector, time_);
      continue;
    }
    if (stored_.size() == k_stored_max && !stored_.contains(sector)) continue;
    Stored& stored = stored_[sector];
    if (stored.block != order.block()) stored.time_of_others = stored.time;
    stored.block = order.block();
    stored.time = time_;
  }
}

void GlobalRaces::record_read(u64& reader, const GlobalAccess& access, const BlockOrder& order) {
  const u64 mine = entry_of(access, order) & ~(k_last_pc << k_pc_at);
  const bool is_several = (reader & k_several) != 0;
  if (reader == 0 || (!is_several && is_ordered(reader, access, order))) {
    // A weak read stays recorded in front of a strong one of the same moment: it is the one that can race.
    const bool is_weaker = unit_of(reader) == unit_of(mine) && stamp_of(reader) == stamp_of(mine) &&
                           strength_of(reader) < strength_of(mine);
    if (!is_weaker) reader = mine;
  } else if (!tracks_) {
    const bool is_one_block = is_of_block(reader, order) && (!is_several || reader >> k_pc_at == k_one_block);
    if (is_one_block && stamp_of(reader) <= order.floor())
      reader = mine;
    else if (is_one_block)
      reader = mine | k_several | k_one_block << k_pc_at;
    else
      reader |= k_several, reader &= ~(k_last_pc << k_pc_at);
  } else if (is_several) {
    add_reader(lists_[unit_of(reader)], mine, access, order);
  } else if (lists_.size() < k_lists_max) {
    lists_.push_back({.readers = {reader, mine}, .next = 2});
    reader = k_several | (lists_.size() - 1);
  }
}

void GlobalRaces::add_reader(ReaderList& list, u64 mine, const GlobalAccess& access,
                             const BlockOrder& order) {
  for (u64& other : list.readers) {
    if (other != 0 && !is_ordered(other, access, order)) continue;
    other = mine;
    return;
  }
  list.readers[list.next++ % ReaderList::k_most] = mine;
}

void GlobalRaces::check_lane(const Region& region, const GlobalAccess& access, const BlockOrder& order,
                             u32 lane, GlobalConflicts& found) {
  const u32 first = access.offsets[lane] >> shift_, count = std::max(1u, access.bytes >> shift_);
  const u64 mine = entry_of(access, order), unit = unit_of(mine);
  Page* shadow = nullptr;
  for (u32 g = first; g < first + count; ++g) {
    const u32 at = g & ((1u << k_page_shift) - 1);
    if (shadow == nullptr || at == 0) shadow = page(region, g);
    if (shadow == nullptr) return;
    u64 &writer = shadow->writers[at], &strong = shadow->strong_writers[at], &reader = shadow->readers[at];
    const u64 byte = u64{g} << shift_;
    if (writer != 0 && unit_of(writer) != unit) check_writer(writer, access, order, lane, byte, found);
    if (strong != 0 && unit_of(strong) != unit) check_writer(strong, access, order, lane, byte, found);
    if (access.is_load) {
      if ((access.flags & k_constant_access) != 0 && (writer | strong) != 0)
        check_constant(writer != 0 ? writer : strong, order, lane, byte, found);
      if (tracks_ && writer != 0 && is_cached_load(access))
        check_stale(writer, region, access, order, lane, found);
      record_read(reader, access, order);
      continue;
    }
    if (reader != 0) check_reader(reader, access, order, lane, byte, found);
    reader = 0;
    if (strength_of(mine) != weak) {
      strong = mine;
    } else {
      writer = mine;
      strong = 0;
    }
  }
}

void GlobalRaces::spread(const Region& region, const GlobalAccess& access, BlockOrder& order) {
  for (Mask rest = access.mask; rest != 0; rest &= rest - 1) {
    const u64 address = region.base + access.offsets[__builtin_ctz(rest)];
    auto found = published_.find(address);
    if (found == published_.end()) {
      if (access.is_load || !order.has_to_publish(access.warp, access.flags)) continue;
      if (published_.size() == k_published_max) {
        is_on_ = false;
        return;
      }
      found = published_.try_emplace(address).first;
    }
    order.access(access.warp, access.flags, access.is_load, access.is_update, found->second);
    if (access.is_uniform) return;
  }
}

GlobalConflicts GlobalRaces::access(const Region& region, const GlobalAccess& access, BlockOrder& order) {
  GlobalConflicts found;
  if (!is_on_) return found;
  Mask lanes = access.mask;
  if (access.is_uniform) lanes &= ~(lanes - 1);
  for (; lanes != 0; lanes &= lanes - 1) {
    check_lane(region, access, order, static_cast<u32>(__builtin_ctz(lanes)), found);
  }
  ++time_;
  if (tracks_) note_sectors(region, access, order);
  if (tracks_ && strength_of(access) != weak) spread(region, access, order);
  return found;
}

}  // namespace kernelites::worker::vgpu
