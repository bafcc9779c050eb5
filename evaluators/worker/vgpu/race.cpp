// SPDX-License-Identifier: Apache-2.0
// The shared-memory race detector.
#include "evaluators/worker/vgpu/race.h"

#include <algorithm>

namespace kernelites::worker::vgpu {
namespace {

constexpr u32 k_interval_shift = 40;
constexpr u64 k_last_interval = (u64{1} << 24) - 1;
constexpr u64 k_readers = 0xffffffffu;

u64 writer_field(u32 warp) { return u64{warp + 1} << 32; }

}  // namespace

void RaceDetector::start(u32 shared_bytes, u32 granule, bool is_on) {
  is_on_ = is_on;
  shift_ = static_cast<u32>(__builtin_ctz(granule));
  if (is_on) granules_.assign((shared_bytes >> shift_) + 1, 0);
  interval_ = 1;
}

void RaceDetector::next_interval() {
  if (!is_on_) return;
  if (interval_ == k_last_interval) {
    std::fill(granules_.begin(), granules_.end(), 0);
    interval_ = 0;
  }
  ++interval_;
}

i64 RaceDetector::read(u32 warp, u32 offset, u32 bytes) {
  const u64 interval = interval_ << k_interval_shift;
  const u64 mine = u64{1} << warp;
  for (u32 g = offset >> shift_; g <= (offset + bytes - 1) >> shift_; ++g) {
    u64& granule = granules_[g];
    if (granule >> k_interval_shift != interval_) {
      granule = interval | mine;
      continue;
    }
    const u64 writer = granule >> 32 & 255;
    if (writer != 0 && writer != warp + 1) return i64{g} << shift_;
    granule |= mine;
  }
  return -1;
}

i64 RaceDetector::write(u32 warp, u32 offset, u32 bytes) {
  const u64 interval = interval_ << k_interval_shift;
  const u64 mine = u64{1} << warp;
  for (u32 g = offset >> shift_; g <= (offset + bytes - 1) >> shift_; ++g) {
    u64& granule = granules_[g];
    if (granule >> k_interval_shift != interval_) {
      granule = interval | writer_field(warp);
      continue;
    }
    const u64 writer = granule >> 32 & 255, other_readers = granule & k_readers & ~mine;
    if (other_readers != 0 || (writer != 0 && writer != warp + 1)) return i64{g} << shift_;
    granule |= writer_field(warp);
  }
  return -1;
}

int RaceDetector::writer(u32 offset) const {
  const u64 granule = granules_[offset >> shift_];
  if (granule >> k_interval_shift != interval_) return -1;
  return static_cast<int>(granule >> 32 & 255) - 1;
}

}  // namespace kernelites::worker::vgpu
