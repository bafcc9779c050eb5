// SPDX-License-Identifier: Apache-2.0
// The shared-memory race detector.
#include "evaluators/worker/vgpu/race.h"

#include <algorithm>

#include "evaluators/worker/vgpu/lanes.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

constexpr u32 k_last_interval = (u32{1} << 24) - 1;
constexpr u32 k_several = 255;

}  // namespace

void RaceDetector::start(u32 shared_bytes, u32 granule, bool is_on) {
  is_on_ = is_on;
  if (!is_on) return;
  shift_ = static_cast<u32>(__builtin_ctz(granule));
  const std::size_t granules = (shared_bytes >> shift_) + 1;
  if (writers_.size() == granules) return next_interval();  // a new block: nothing of the last one counts
  writers_.assign(granules, 0);
  readers_.assign(granules, 0);
  lines_.assign(granules, 0);
  interval_ = 1;
}

void RaceDetector::next_interval() {
  if (!is_on_) return;
  if (interval_ == k_last_interval) {
    std::fill(writers_.begin(), writers_.end(), 0);
    std::fill(readers_.begin(), readers_.end(), 0);
    interval_ = 0;
  }
  ++interval_;
}

i64 RaceDetector::read(u32 warp, u32 offset, u32 bytes) {
  const u32 mine = interval_ << 8 | (warp + 1), several = interval_ << 8 | k_several;
  for (u32 g = offset >> shift_; g <= (offset + bytes - 1) >> shift_; ++g) {
    if (writers_[g] >> 8 == interval_ && writers_[g] != mine) return i64{g} << shift_;
    readers_[g] = readers_[g] >> 8 == interval_ && readers_[g] != mine ? several : mine;
  }
  return -1;
}

bool RaceDetector::read_words(u32 warp, const u32* offsets) {
  if (shift_ != 2) return false;
  const __m256i mine = _mm256_set1_epi32(static_cast<int>(interval_ << 8 | (warp + 1)));
  const __m256i interval = _mm256_set1_epi32(static_cast<int>(interval_));
  __m256i conflict = _mm256_setzero_si256(), stale = _mm256_setzero_si256();
  for (u32 l = 0; l < k_lanes; l += 8) {
    const __m256i at = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(offsets + l));
    const __m256i writer =
        _mm256_i32gather_epi32(reinterpret_cast<const int*>(writers_.data()), _mm256_srli_epi32(at, 2), 4);
    const __m256i reader =
        _mm256_i32gather_epi32(reinterpret_cast<const int*>(readers_.data()), _mm256_srli_epi32(at, 2), 4);
    const __m256i is_current = _mm256_cmpeq_epi32(_mm256_srli_epi32(writer, 8), interval);
    conflict = _mm256_or_si256(conflict, _mm256_andnot_si256(_mm256_cmpeq_epi32(writer, mine), is_current));
    stale = _mm256_or_si256(stale, _mm256_xor_si256(reader, mine));
  }
  if (!_mm256_testz_si256(conflict, conflict)) return false;
  if (_mm256_testz_si256(stale, stale)) return true;
  const u32 one = interval_ << 8 | (warp + 1), several = interval_ << 8 | k_several;
  KERNELITES_LANES(l) {
    u32& reader = readers_[offsets[l] >> 2];
    reader = reader >> 8 == interval_ && reader != one ? several : one;
  }
  return true;
}

i64 RaceDetector::write(u32 warp, u32 offset, u32 bytes, u32 line) {
  const u32 mine = interval_ << 8 | (warp + 1);
  for (u32 g = offset >> shift_; g <= (offset + bytes - 1) >> shift_; ++g) {
    const bool is_written = writers_[g] >> 8 == interval_ && writers_[g] != mine;
    const bool is_read = readers_[g] >> 8 == interval_ && readers_[g] != mine;
    if (is_written || is_read) return i64{g} << shift_;
    writers_[g] = mine;
    lines_[g] = line;
  }
  return -1;
}

bool RaceDetector::was_written_by_other(u32 warp, u32 offset) const {
  const u32 writer = writers_[offset >> shift_];
  return writer >> 8 == interval_ && (writer & 255) != warp + 1;
}

}  // namespace kernelites::worker::vgpu
