// SPDX-License-Identifier: Apache-2.0
// The shadow of shared memory. The common shapes (contiguous, uniform, 32 offsets) are compared eight granules at a
// time; whatever that does not clear is looked at lane by lane.
#include "evaluators/worker/vgpu/race.h"

#include <algorithm>

#include <immintrin.h>

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

constexpr u32 k_stamp_shift = 12;  // as in RaceDetector
constexpr u32 k_last_stamp = (u32{1} << (32 - k_stamp_shift)) - 2;
constexpr u32 k_flag = u32{1} << 10;  ///< a writer: strong; a reader: several warps
constexpr u32 k_many_lanes =
    u32{1} << 11;  ///< of a writer: no lane in particular (several at once, or an atomic)
constexpr u32 k_warp_mask = 31, k_lane_shift = 5;

u32 stamp_of(u32 entry) { return entry >> k_stamp_shift; }
u32 warp_of(u32 entry) { return entry & k_warp_mask; }
u32 lane_of(u32 entry) { return entry >> k_lane_shift & 31; }

__m256i splat(u32 value) { return _mm256_set1_epi32(static_cast<int>(value)); }
__m256i load_at(const u32* at) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)); }
void store_at(u32* at, __m256i value) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), value); }
__m256i gather_at(const u32* table, __m256i index) {
  return _mm256_i32gather_epi32(reinterpret_cast<const int*>(table), index, 4);
}
bool all_zero(__m256i v) { return _mm256_testz_si256(v, v) != 0; }
__m256i iota() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }

/// All ones for lanes l .. l + 7 that are in the mask.
__m256i active_lanes(Mask mask, u32 l) {
  const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  return _mm256_cmpeq_epi32(_mm256_and_si256(splat(mask >> l), bits), bits);
}

/// Calls body(index, lane, active) for vectors of eight granules: their indices, the lanes that touch them.
/// Body returns false to stop. REQUIRES: whole-warp contiguous accesses, or any.
template <class Body>
bool each_vector(const SharedAccess& access, u32 shift, Body body) {
  const u32 per_lane = access.bytes >> shift;
  if (access.is_contiguous) {
    const u32 first = access.offsets[0] >> shift, to_lane = static_cast<u32>(__builtin_ctz(per_lane));
    for (u32 k = 0; k < k_lanes * per_lane; k += 8) {
      const __m256i at = _mm256_add_epi32(iota(), splat(k));
      if (!body(_mm256_add_epi32(at, splat(first)), _mm256_srli_epi32(at, static_cast<int>(to_lane)),
                splat(~0u), first + k))
        return false;
    }
    return true;
  }
  for (u32 l = 0; l < k_lanes; l += 8) {
    const __m256i active = active_lanes(access.mask, l);
    if (all_zero(active)) continue;
    const __m256i first = _mm256_srli_epi32(load_at(access.offsets + l), static_cast<int>(shift));
    for (u32 k = 0; k < per_lane; ++k) {
      if (!body(_mm256_add_epi32(first, splat(k)), _mm256_add_epi32(iota(), splat(l)), active, ~0u))
        return false;
    }
  }
  return true;
}

/// One lane stands for all of a uniform access.
SharedAccess narrowed(SharedAccess access) {
  if (access.is_uniform) access.mask &= ~(access.mask - 1);
  return access;
}

}  // namespace

struct RaceDetector::Moment {
  u32 now = 0, floor = 0, synced = 0;  ///< as stamps of entries
};

void RaceDetector::start(const BlockOrder& order, u32 shared_bytes, u32 granule, bool is_on) {
  is_on_ = is_on && shared_bytes != 0;
  if (!is_on_) return;
  order_ = &order;
  shift_ = static_cast<u32>(__builtin_ctz(granule));
  base_ = last_;
  const std::size_t granules = (shared_bytes >> shift_) + 16;
  if (writers_.size() != granules) {
    for (std::vector<u32>* table : {&writers_, &readers_, &lines_}) table->assign(granules, 0);
    base_ = last_ = latest_write_ = 0;
  }
  if (order.tracks()) stamps_.assign(granules * order.warps(), 0);
}

/// Everything so far counts as ordered: entries have no room for higher stamps.
void RaceDetector::forget() {
  std::fill(writers_.begin(), writers_.end(), 0);
  std::fill(readers_.begin(), readers_.end(), 0);
  base_ = 1 - i64{order_->now()};
  latest_write_ = 0;
}

RaceDetector::Moment RaceDetector::moment(const SharedAccess& access) {
  if (base_ + order_->now() > k_last_stamp) forget();
  auto stored = [&](u32 stamp) { return static_cast<u32>(std::max<i64>(0, base_ + stamp)); };
  last_ = stored(order_->now());
  const u32 synced = access.is_atomic ? order_->now() : order_->synced(access.warp);
  return {.now = last_, .floor = stored(order_->floor()), .synced = stored(synced)};
}

SharedConflicts RaceDetector::read(const SharedAccess& whole) {
  const Moment m = moment(whole);
  SharedConflicts found;
  const SharedAccess access = narrowed(whole);
  // Between two barriers most blocks only read, or only write.
  if (latest_write_ > m.floor && !writers_agree(access, m, access.mask != whole.mask))
    find_writers(whole, m, found);
  if (!access.is_strong) record_read(access, m);
  return found;
}

SharedConflicts RaceDetector::write(const SharedAccess& whole) {
  const SharedAccess access = narrowed(whole);
  const Moment m = moment(access);
  SharedConflicts found;
  const bool is_shared_by_lanes = access.mask != whole.mask;
  if (!writers_agree(access, m, is_shared_by_lanes)) find_writers(whole, m, found);
  if (order_->tracks() || !readers_agree(access, m)) find_readers(whole, m, found);
  latest_write_ = m.now;
  record_write(access, m, is_shared_by_lanes);
  return found;
}

/// Is every granule's last write ordered, as far as stamps alone tell? `by_several`: more lanes than one touch the
/// granules, so that they must not be one lane's fresh write.
bool RaceDetector::writers_agree(const SharedAccess& access, const Moment& m, bool by_several) const {
  const __m256i floor = splat(m.floor), synced = splat(m.synced), warp = splat(access.warp);
  const __m256i strong = splat(access.is_strong ? k_flag : 0);
  return each_vector(access, shift_, [&](__m256i index, __m256i lane, __m256i active, u32 first) {
    const __m256i entry = first != ~0u ? load_at(writers_.data() + first) : gather_at(writers_.data(), index);
    const __m256i stamp = _mm256_srli_epi32(entry, k_stamp_shift);
    __m256i bad = _mm256_and_si256(_mm256_cmpgt_epi32(stamp, floor), active);
    if (all_zero(bad)) return true;
    const __m256i is_mine = _mm256_cmpeq_epi32(_mm256_and_si256(entry, splat(k_warp_mask)), warp);
    const __m256i of_lane = _mm256_and_si256(_mm256_srli_epi32(entry, k_lane_shift), splat(31));
    const __m256i is_own = _mm256_cmpeq_epi32(of_lane, by_several ? splat(k_lanes) : lane);
    const __m256i is_fresh = _mm256_andnot_si256(is_own, _mm256_cmpgt_epi32(stamp, synced));
    const __m256i is_strong = _mm256_cmpeq_epi32(_mm256_and_si256(entry, strong), splat(k_flag));
    // Of the own warp, what is not fresh is fine; of another one, what is strong on both sides.
    const __m256i is_fine = _mm256_blendv_epi8(is_strong, _mm256_xor_si256(is_fresh, splat(~0u)), is_mine);
    return all_zero(_mm256_andnot_si256(is_fine, bad));
  });
}

bool RaceDetector::readers_agree(const SharedAccess& access, const Moment& m) const {
  const __m256i floor = splat(m.floor), warp = splat(access.warp);
  return each_vector(access, shift_, [&](__m256i index, __m256i, __m256i active, u32 first) {
    const __m256i entry = first != ~0u ? load_at(readers_.data() + first) : gather_at(readers_.data(), index);
    const __m256i stamp = _mm256_srli_epi32(entry, k_stamp_shift);
    const __m256i is_mine = _mm256_cmpeq_epi32(_mm256_and_si256(entry, splat(k_flag | k_warp_mask)), warp);
    const __m256i is_new = _mm256_and_si256(_mm256_cmpgt_epi32(stamp, floor), active);
    return all_zero(_mm256_andnot_si256(is_mine, is_new));
  });
}

void RaceDetector::find_writers(const SharedAccess& access, const Moment& m, SharedConflicts& found) const {
  for (Mask rest = access.mask; rest != 0; rest &= rest - 1) {
    const u32 lane = static_cast<u32>(__builtin_ctz(rest));
    const u32 first = access.offsets[lane] >> shift_;
    for (u32 g = first; g < first + (access.bytes >> shift_); ++g) {
      const u32 entry = writers_[g], stamp = stamp_of(entry), other = warp_of(entry);
      const bool is_strong = (entry & k_flag) != 0;
      if (stamp <= m.floor) continue;
      if (other == access.warp) {
        const bool is_own = (entry & k_many_lanes) != 0 || lane_of(entry) == lane;
        if (stamp <= m.synced || is_own) continue;
      } else if (is_strong && access.is_strong) {
        continue;
      } else if (order_->knows_warp(access.warp, other, static_cast<u32>(stamp - base_))) {
        continue;
      }
      found.push_back({lane, g << shift_, true, other, lane_of(entry), lines_[g]});
      break;
    }
  }
}

void RaceDetector::find_readers(const SharedAccess& access, const Moment& m, SharedConflicts& found) const {
  auto add = [&](u32 lane, u32 granule, u32 other) {
    const bool is_known = !found.empty() && !found.back().is_with_write && found.back().lane == lane;
    if (!is_known) found.push_back({lane, granule << shift_, false, other, 0, 0});
  };
  for (Mask rest = access.mask; rest != 0; rest &= rest - 1) {
    const u32 lane = static_cast<u32>(__builtin_ctz(rest));
    const u32 first = access.offsets[lane] >> shift_;
    for (u32 g = first; g < first + (access.bytes >> shift_); ++g) {
      if (!order_->tracks()) {
        const u32 entry = readers_[g];
        const bool is_mine = (entry & (k_flag | k_warp_mask)) == access.warp;
        if (stamp_of(entry) > m.floor && !is_mine) add(lane, g, (entry & k_flag) != 0 ? ~0u : warp_of(entry));
        continue;
      }
      for (u32 other = 0; other < order_->warps(); ++other) {
        const u32 stamp = stamps_[std::size_t{g} * order_->warps() + other];
        if (stamp != 0 && !order_->knows_warp(access.warp, other, stamp)) add(lane, g, other);
      }
    }
  }
}

void RaceDetector::record_read(const SharedAccess& access, const Moment& m) {
  if (order_->tracks()) {
    for (Mask rest = access.mask; rest != 0; rest &= rest - 1) {
      const u32 first = access.offsets[__builtin_ctz(rest)] >> shift_;
      for (u32 g = first; g < first + (access.bytes >> shift_); ++g) {
        stamps_[std::size_t{g} * order_->warps() + access.warp] = order_->now();
      }
    }
    return;
  }
  const u32 mine = m.now << k_stamp_shift | access.warp;
  const __m256i floor = splat(m.floor), warp = splat(access.warp), fresh = splat(mine);
  if (access.is_uniform && access.bytes >> shift_ == 1) {
    u32& reader = readers_[access.offsets[0] >> shift_];
    const bool is_others = stamp_of(reader) > m.floor && (reader & (k_flag | k_warp_mask)) != access.warp;
    reader = mine | (is_others ? k_flag : 0);
    return;
  }
  each_vector(access, shift_, [&](__m256i index, __m256i, __m256i active, u32 first) {
    const __m256i entry = first != ~0u ? load_at(readers_.data() + first) : gather_at(readers_.data(), index);
    const __m256i is_same = _mm256_cmpeq_epi32(_mm256_andnot_si256(splat(k_flag), entry), fresh);
    if (all_zero(_mm256_andnot_si256(is_same, active))) return true;
    const __m256i is_new = _mm256_cmpgt_epi32(_mm256_srli_epi32(entry, k_stamp_shift), floor);
    const __m256i is_mine = _mm256_cmpeq_epi32(_mm256_and_si256(entry, splat(k_flag | k_warp_mask)), warp);
    const __m256i several = _mm256_and_si256(_mm256_andnot_si256(is_mine, is_new), splat(k_flag));
    const __m256i next = _mm256_or_si256(fresh, several);
    if (first != ~0u) {
      store_at(readers_.data() + first, next);
      return true;
    }
    if (all_zero(_mm256_and_si256(_mm256_xor_si256(entry, next), active))) return true;
    alignas(32) u32 at[8], values[8];
    store_at(at, index);
    store_at(values, next);
    Mask lanes = static_cast<Mask>(_mm256_movemask_ps(_mm256_castsi256_ps(active)));
    for (; lanes != 0; lanes &= lanes - 1) readers_[at[__builtin_ctz(lanes)]] = values[__builtin_ctz(lanes)];
    return true;
  });
}

void RaceDetector::record_write(const SharedAccess& access, const Moment& m, bool by_several) {
  const u32 mine = m.now << k_stamp_shift | (access.is_strong ? k_flag : 0) |
                   (access.is_atomic ? k_many_lanes : 0) | access.warp;
  if (access.is_contiguous && !access.is_strong) {
    each_vector(access, shift_, [&](__m256i, __m256i lane, __m256i, u32 first) {
      store_at(writers_.data() + first, _mm256_or_si256(splat(mine), _mm256_slli_epi32(lane, k_lane_shift)));
      store_at(lines_.data() + first, splat(access.pc));
      return true;
    });
    return;
  }
  for (Mask rest = access.mask; rest != 0; rest &= rest - 1) {
    const u32 lane = static_cast<u32>(__builtin_ctz(rest)), first = access.offsets[lane] >> shift_;
    for (u32 g = first; g < first + (access.bytes >> shift_); ++g) {
      const u32 last = writers_[g];
      // A strong write does not hide the own weak one before it, with which others still race.
      const bool is_behind_weak =
          stamp_of(last) > m.floor && warp_of(last) == access.warp && (last & k_flag) == 0;
      if (access.is_strong && is_behind_weak) continue;
      const bool is_again =
          lines_[g] == access.pc && ((last ^ mine) & ~(31u << k_lane_shift | k_many_lanes)) == 0;
      const bool is_many = by_several || (is_again && lane_of(last) != lane);
      writers_[g] = mine | lane << k_lane_shift | (is_many ? k_many_lanes : 0);
      lines_[g] = access.pc;
    }
  }
}

}  // namespace kernelites::worker::vgpu
