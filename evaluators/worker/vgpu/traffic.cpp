// SPDX-License-Identifier: Apache-2.0
// Sectors and bank conflicts. Common shapes (contiguous, uniform) are recognised before the general count.
#include "evaluators/worker/vgpu/traffic.h"

#include <algorithm>

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

constexpr u32 k_sector_shift = 5;
constexpr u32 k_banks = 32;

Traffic& traffic_of(Warp& warp, const Instruction& i) {
  return warp.tally->traffic[static_cast<std::size_t>(&i - warp.context->image->code.data())];
}

void mark_footprint(std::vector<u64>& bits, u64 region_bytes, u32 sector) {
  if (bits.empty()) bits.resize((region_bytes >> k_sector_shift) / 64 + 1);
  bits[sector / 64] |= u64{1} << (sector % 64);
}

/// Wavefronts of one group of lanes: the most distinct words that fall into one bank.
u32 wavefronts_of(const u32* offsets, u32 begin, u32 end, Mask mask, u32 words) {
  u32 bank_words[k_banks][4];
  u8 bank_count[k_banks] = {};
  u32 most = 1;
  for (u32 l = begin; l < end; ++l) {
    if (!is_active(mask, l)) continue;
    for (u32 w = 0; w < words; ++w) {
      const u32 word = offsets[l] / 4 + w, bank = word % k_banks;
      u32 known = std::min<u32>(bank_count[bank], 4);
      bool is_new = true;
      for (u32 k = 0; k < known; ++k) is_new &= bank_words[bank][k] != word;
      if (!is_new) continue;
      bank_words[bank][bank_count[bank] % 4] = word;
      most = std::max<u32>(most, ++bank_count[bank]);
    }
  }
  return most;
}

}  // namespace

void count_global(Warp& warp, const Instruction& i, const Region& region, const Access& access, Mask mask,
                  u32 bytes, Use use) {
  Traffic& traffic = traffic_of(warp, i);
  const std::size_t slot = region.index;
  auto& footprints = use == Use::load ? warp.tally->loaded : warp.tally->stored;
  if (footprints.size() <= slot) footprints.resize(slot + 1);
  std::vector<u64>& footprint = footprints[slot];
  const u32 lanes = lane_count(mask);
  ++traffic.requests;
  traffic.bytes += u64{lanes} * bytes;
  if (access.is_contiguous || access.is_uniform) {
    const u32 first = access.offsets[0] >> k_sector_shift;
    const u32 span = access.is_contiguous ? k_lanes * bytes : bytes;
    const u32 last = (access.offsets[0] + span - 1) >> k_sector_shift;
    traffic.transactions += last - first + 1;
    traffic.ideal += (span + 31) / 32;
    for (u32 sector = first; sector <= last; ++sector) mark_footprint(footprint, region.bytes, sector);
    return;
  }
  u32 sectors[k_lanes] = {};
  u32 count = 0, previous = ~0u;
  bool is_ascending = true;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 sector = access.offsets[lowest_lane(rest)] >> k_sector_shift;
    if (sector == previous) continue;
    is_ascending &= previous == ~0u || sector > previous;
    sectors[count++] = previous = sector;
  }
  if (!is_ascending) {
    std::sort(sectors, sectors + count);
    count = static_cast<u32>(std::unique(sectors, sectors + count) - sectors);
  }
  traffic.transactions += count;
  traffic.ideal += std::min(count, (lanes * bytes + 31) / 32);
  for (u32 k = 0; k < count; ++k) mark_footprint(footprint, region.bytes, sectors[k]);
}

void count_shared(Warp& warp, const Instruction& i, const Access& access, Mask mask, u32 bytes) {
  const u32 lanes = lane_count(mask);
  const u32 ideal = access.is_uniform ? 1 : std::max(1u, (lanes * bytes + 127) / 128);
  u32 wavefronts = ideal;
  if (bytes == 4 && access.stride % 4 == 0 && access.stride != 0) {
    // Lanes a constant stride apart: as many share a bank as the stride in words has factors of two.
    const u32 words = access.stride / 4;
    wavefronts = std::min(k_banks, words & (~words + 1));
  } else if (!access.is_uniform && !(access.is_contiguous && bytes >= 4)) {
    // A warp's 8-byte accesses go in two halves, its 16-byte accesses in four quarters.
    const u32 words = std::max(1u, bytes / 4), group = k_lanes / words;
    wavefronts = 0;
    for (u32 begin = 0; begin < k_lanes; begin += group) {
      const Mask lanes_of_group = group == k_lanes ? mask : mask >> begin & ((Mask{1} << group) - 1);
      if (lanes_of_group != 0) wavefronts += wavefronts_of(access.offsets, begin, begin + group, mask, words);
    }
  }
  traffic_of(warp, i) += {.requests = 1,
                          .bytes = u64{lanes} * bytes,
                          .transactions = wavefronts,
                          .ideal = std::min(ideal, wavefronts)};
}

}  // namespace kernelites::worker::vgpu
