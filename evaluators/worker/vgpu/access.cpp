// SPDX-License-Identifier: Apache-2.0
// Checking of accesses, and the words for what is wrong with one.
#include "evaluators/worker/vgpu/access.h"

#include <algorithm>
#include <array>

#include <fmt/core.h>

#include "evaluators/worker/vgpu/traffic.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

const char* verb(Use use) {
  return use == Use::load ? "read" : use == Use::store ? "write" : "atomic update";
}

/// "8 bytes past the end of" or "4 bytes before the start of".
std::string distance(i64 offset, u64 size, u32 bytes) {
  if (offset < 0) return fmt::format("{} bytes before the start of", -offset);
  const u64 past = static_cast<u64>(offset) + bytes - size;
  return fmt::format("{} bytes past the end of", std::max<u64>(past, 1));
}

[[noreturn]] void fault_global(const Warp& warp, u32 lane, u64 address, u32 bytes, Use use) {
  const Region* region = warp.context->region(address);
  if (region == nullptr) {
    const char* what = (address >> 32) == 0 ? "a null or wild pointer" : "a pointer into no allocation";
    raise(FaultKind::out_of_bounds, lane,
          fmt::format("{} of {} bytes at address {:#x}: {}", verb(use), bytes, address, what));
  }
  if (region->removed) {
    raise(
        FaultKind::out_of_bounds, lane,
        fmt::format("{} of {} bytes of '{}', which is no longer allocated", verb(use), bytes, region->name));
  }
  const i64 offset = static_cast<i64>(address - region->base);
  raise(FaultKind::out_of_bounds, lane,
        fmt::format("{} of {} bytes reaches {} '{}' ({} bytes; byte offset {})", verb(use), bytes,
                    distance(offset, region->bytes, bytes), region->name, region->bytes, offset));
}

[[noreturn]] void fault_misaligned(u32 lane, u32 bytes, Use use, const std::string& where, u64 offset) {
  raise(FaultKind::misaligned, lane,
        fmt::format("{} of {} bytes at byte offset {} of {}, which is not a multiple of {}", verb(use), bytes,
                    offset, where, bytes));
}

u32 first_misaligned(const Access& access, Mask mask, u32 bytes) {
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    if ((access.offsets[lowest_lane(rest)] & (bytes - 1)) != 0) return lowest_lane(rest);
  }
  return lowest_lane(mask);
}

struct Offense {
  bool is_outside = false, is_misaligned = false;
};

/// Gives inactive lanes the offset of an active one, finds the shape, compares with `limit` (the last good offset).
Offense finish_offsets(Access& access, Mask mask, u32 bytes, u32 limit) {
  const __m256i lane_bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i first = _mm256_set1_epi32(static_cast<int>(access.offsets[lowest_lane(mask)]));
  const u32 step = access.offsets[1] - access.offsets[0];
  const __m256i steps = _mm256_set1_epi32(static_cast<int>(8 * bytes)),
                strides = _mm256_set1_epi32(static_cast<int>(8 * step));
  const __m256i beyond = _mm256_set1_epi32(static_cast<int>(limit + 1));
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  __m256i on_line =
      _mm256_add_epi32(first, _mm256_mullo_epi32(lanes, _mm256_set1_epi32(static_cast<int>(bytes))));
  __m256i on_stride =
      _mm256_add_epi32(first, _mm256_mullo_epi32(lanes, _mm256_set1_epi32(static_cast<int>(step))));
  __m256i off_line = _mm256_setzero_si256(), off_first = off_line, off_stride = off_line, any = off_line,
          outside = off_line;
  for (u32 l = 0; l < k_lanes; l += 8) {
    __m256i* slot = reinterpret_cast<__m256i*>(access.offsets + l);
    __m256i offset = _mm256_load_si256(slot);
    if (mask != k_all_lanes) {
      const __m256i bits = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(mask >> l)), lane_bits);
      offset = _mm256_blendv_epi8(first, offset, _mm256_cmpeq_epi32(bits, lane_bits));
      _mm256_store_si256(slot, offset);
    }
    off_line = _mm256_or_si256(off_line, _mm256_xor_si256(offset, on_line));
    off_stride = _mm256_or_si256(off_stride, _mm256_xor_si256(offset, on_stride));
    off_first = _mm256_or_si256(off_first, _mm256_xor_si256(offset, first));
    any = _mm256_or_si256(any, offset);
    outside = _mm256_or_si256(outside, _mm256_cmpeq_epi32(_mm256_max_epu32(offset, beyond), offset));
    on_line = _mm256_add_epi32(on_line, steps);
    on_stride = _mm256_add_epi32(on_stride, strides);
  }
  const bool is_whole = mask == k_all_lanes;
  access.is_contiguous = is_whole && _mm256_testz_si256(off_line, off_line) != 0;
  access.is_uniform = _mm256_testz_si256(off_first, off_first) != 0;
  access.stride = is_whole && _mm256_testz_si256(off_stride, off_stride) != 0 ? step : 0;
  return {.is_outside = _mm256_testz_si256(outside, outside) == 0,
          .is_misaligned = _mm256_testz_si256(any, _mm256_set1_epi32(static_cast<int>(bytes - 1))) == 0};
}

/// The longest contiguous access of a warp: 32 lanes of 32 bytes.
constexpr std::size_t k_longest_span = 1024;
constexpr std::array<u8, k_longest_span> k_all_written = [] {
  std::array<u8, k_longest_span> bytes{};
  bytes.fill(k_written);
  return bytes;
}();

bool all_bytes_written(const u8* state, u32 bytes) {
  return std::memcmp(state, k_all_written.data(), bytes) == 0;
}

/// Is a byte of the access not written? Then `lane` is the first such lane.
bool has_unwritten(const u8* state, const Access& access, Mask mask, u32 bytes, u32& lane) {
  if (access.is_contiguous || access.is_uniform) {
    const u32 span = access.is_contiguous ? bytes * k_lanes : bytes;
    if (all_bytes_written(state + access.offsets[0], span)) return false;
  } else if (bytes == 4) {
    Access words = access;
    words.base = const_cast<u8*>(state);
    u32 values[k_lanes], differs = 0;
    gather(words, 0, values);
    KERNELITES_LANES(l) differs |= values[l] ^ (0x01010101u * k_written);
    if (differs == 0) return false;
  }
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    lane = lowest_lane(rest);
    if (!all_bytes_written(state + access.offsets[lane], bytes)) return true;
  }
  return false;
}

void set_state(u8* state, const Access& access, Mask mask, u32 bytes, u8 value) {
  if (access.is_contiguous || access.is_uniform) {
    std::memset(state + access.offsets[0], value, access.is_contiguous ? bytes * k_lanes : bytes);
    return;
  }
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    std::memset(state + access.offsets[lowest_lane(rest)], value, bytes);
  }
}

u32 first_unwritten(const u8* state, u32 bytes) {
  u32 k = 0;
  while (k < bytes && state[k] == k_written) ++k;
  return k;
}

void check_state(u8* state, const Access& access, Mask mask, u32 bytes, Use use, const std::string& where) {
  u32 lane = 0;
  if (use != Use::store && has_unwritten(state, access, mask, bytes, lane)) {
    const u32 at = access.offsets[lane] + first_unwritten(state + access.offsets[lane], bytes);
    raise(FaultKind::uninitialised, lane,
          fmt::format("{} of {} bytes at byte offset {} of {}: byte {} was never written", verb(use), bytes,
                      access.offsets[lane], where, at));
  }
  if (use != Use::load) set_state(state, access, mask, bytes, k_written);
}

// ---- shared memory

[[noreturn]] void fault_race(const Warp& warp, u32 lane, u32 byte, Use use) {
  const RaceDetector& races = warp.block->races;
  std::string other = "another warp has read";
  if (races.was_written_by_other(warp.index, byte)) {
    other = fmt::format("warp {} has written at line {}", races.writer(byte), races.writer_line(byte));
  }
  raise(FaultKind::race, lane,
        fmt::format(
            "warp {} {}s byte {} of shared memory, which {} since the last barrier: a __syncthreads() is "
            "missing between them",
            warp.index, use == Use::load ? "read" : "write", byte, other));
}

void check_shared_race(Warp& warp, const Instruction& i, const Access& access, Mask mask, u32 bytes,
                       Use use) {
  RaceDetector& races = warp.block->races;
  auto check = [&](u32 lane, u32 offset, u32 span) {
    const i64 conflict = use == Use::load ? races.read(warp.index, offset, span)
                                          : races.write(warp.index, offset, span, i.line);
    if (conflict >= 0) fault_race(warp, lane, static_cast<u32>(conflict), use);
  };
  if (access.is_uniform) return check(lowest_lane(mask), access.offsets[0], bytes);
  if (access.is_contiguous) return check(0, access.offsets[0], bytes * k_lanes);
  if (use == Use::load && bytes == 4 && races.read_words(warp.index, access.offsets)) return;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    check(lowest_lane(rest), access.offsets[lowest_lane(rest)], bytes);
  }
}

/// A read of unwritten shared memory. If another warp writes it before the next barrier, that barrier is missing and it
/// is a race; so the verdict waits until then (Block::early_read).
void note_early_read(Warp& warp, u32 lane, u32 offset, u32 bytes, Use use) {
  EarlyRead early;
  early.raised = {
      .kind = FaultKind::uninitialised,
      .message = fmt::format("{} of {} bytes of shared memory at byte {}, which nothing has written",
                             verb(use), bytes, offset),
      .lane = lane,
      .warp = static_cast<int>(warp.index),
      .pc = warp.pc};
  early.begin = offset;
  early.end = offset + bytes;
  if (!warp.block->races.is_on()) throw early.raised;
  warp.block->early_read = std::move(early);
}

void check_early_read(Warp& warp, const Access& access, Mask mask, u32 bytes) {
  const EarlyRead& early = *warp.block->early_read;
  if (early.raised.warp == static_cast<int>(warp.index)) return;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 offset = access.offsets[lowest_lane(rest)];
    if (offset >= early.end || offset + bytes <= early.begin) continue;
    Raised raised = early.raised;
    raised.kind = FaultKind::race;
    raised.message = fmt::format(
        "warp {} reads byte {} of shared memory before warp {} writes it at line {}: a __syncthreads() is "
        "missing between them",
        raised.warp, early.begin, warp.index, warp.context->image->code[warp.pc].line);
    throw raised;
  }
}

void check_shared_state(Warp& warp, const Access& access, Mask mask, u32 bytes, Use use) {
  u8* state = warp.block->shared_state.data();
  u32 lane = 0;
  if (use != Use::store && has_unwritten(state, access, mask, bytes, lane)) {
    const u8* bytes_of_lane = state + access.offsets[lane];
    if (std::find(bytes_of_lane, bytes_of_lane + bytes, k_copy_pending) != bytes_of_lane + bytes) {
      raise(FaultKind::copy_not_waited, lane,
            fmt::format(
                "{} of byte {} of shared memory, which a cp.async is still filling: its cp.async.wait_group "
                "(and the barrier behind it) is missing or waits for too few groups",
                verb(use), access.offsets[lane]));
    }
    if (warp.context->options.checks.uninitialised && !warp.block->early_read) {
      note_early_read(warp, lane, access.offsets[lane], bytes, use);
    }
  }
  if (use == Use::load) return;
  if (warp.block->early_read) check_early_read(warp, access, mask, bytes);
  set_state(state, access, mask, bytes, k_written);
}

// ---- global and local memory

Mask resolve_global(Warp& warp, const Instruction& i, const u64* addresses, Mask mask, u32 bytes, Use use,
                    Access& access) {
  const u32 first = lowest_lane(mask);
  Region* region = warp.context->region(addresses[first]);
  if (region == nullptr || region->removed) fault_global(warp, first, addresses[first], bytes, use);
  const u64 base = region->base;
  const u64 limit = region->bytes - bytes;  // wraps if the region is smaller, which is tested for itself
  u64 high = 0;
  KERNELITES_LANES(l) {
    const u64 offset = (is_active(mask, l) ? addresses[l] : addresses[first]) - base;
    access.offsets[l] = static_cast<u32>(offset);
    high |= offset >> 31;
  }
  Offense offense = finish_offsets(access, mask, bytes, static_cast<u32>(limit));
  if (high != 0 || offense.is_outside || region->bytes < bytes) {
    Mask inside = 0;
    for (Mask rest = mask; rest != 0; rest &= rest - 1) {
      const u32 l = lowest_lane(rest);
      if (addresses[l] - base <= limit && region->bytes >= bytes) {
        inside |= Mask{1} << l;
      } else if (const Region* other = warp.context->region(addresses[l]);
                 other == region || other == nullptr || l == first) {
        fault_global(warp, l, addresses[l], bytes, use);
      }
    }
    mask = inside;
    KERNELITES_LANES(l)
    access.offsets[l] = static_cast<u32>((is_active(mask, l) ? addresses[l] : addresses[first]) - base);
    offense = finish_offsets(access, mask, bytes, static_cast<u32>(limit));
  }
  access.base = region->host;
  if (offense.is_misaligned) {
    const u32 lane = first_misaligned(access, mask, bytes);
    fault_misaligned(lane, bytes, use, fmt::format("'{}'", region->name), access.offsets[lane]);
  }
  if (use != Use::load && !region->writable) {
    raise(FaultKind::read_only_write, first,
          fmt::format("{} of '{}', which is read-only, at byte offset {}", verb(use), region->name,
                      access.offsets[first]));
  }
  if (region->initialised != nullptr && warp.context->options.checks.uninitialised) {
    check_state(region->initialised, access, mask, bytes, use, fmt::format("'{}'", region->name));
  } else if (region->initialised != nullptr && use != Use::load) {
    set_state(region->initialised, access, mask, bytes, k_written);
  }
  if (warp.tally != nullptr) count_global(warp, i, *region, access, mask, bytes, use);
  return mask;
}

Mask resolve_local(Warp& warp, const Instruction& i, const u64* addresses, Mask mask, u32 bytes, Use use,
                   Access& access) {
  const u32 frame = warp.context->image->local_bytes;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 l = lowest_lane(rest);
    const u64 address = static_cast<u32>(addresses[l]);
    if (address + bytes > frame) {
      raise(FaultKind::out_of_bounds, l,
            fmt::format("{} of {} bytes at byte {} of local memory, which has {} bytes", verb(use), bytes,
                        address, frame));
    }
    if ((address & (bytes - 1)) != 0) fault_misaligned(l, bytes, use, "local memory", address);
    access.offsets[l] = l * frame + static_cast<u32>(address);
  }
  access.base = warp.local;
  finish_offsets(access, mask, bytes, ~0u - 1);
  if (warp.context->options.checks.uninitialised)
    check_state(warp.local_state, access, mask, bytes, use, "local memory");
  if (warp.tally != nullptr) {
    warp.tally->traffic[static_cast<std::size_t>(&i - warp.context->image->code.data())].bytes +=
        u64{lane_count(mask)} * bytes;
  }
  return mask;
}

Mask resolve_parameter(Warp& warp, const u64* addresses, Mask mask, u32 bytes, Use use, Access& access) {
  const auto& parameters = warp.context->launch->parameters;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 l = lowest_lane(rest), offset = static_cast<u32>(addresses[l]);
    if (u64{offset} + bytes > parameters.size()) {
      raise(FaultKind::out_of_bounds, l,
            fmt::format("{} of {} bytes at byte {} of the kernel's parameters ({} bytes)", verb(use), bytes,
                        offset, parameters.size()));
    }
    if (use != Use::load) raise(FaultKind::read_only_write, l, "write to a kernel parameter");
    if ((offset & (bytes - 1)) != 0) fault_misaligned(l, bytes, use, "the kernel's parameters", offset);
    access.offsets[l] = offset;
  }
  access.base = reinterpret_cast<u8*>(const_cast<std::byte*>(parameters.data()));
  finish_offsets(access, mask, bytes, ~0u - 1);
  return mask;
}

}  // namespace

void resolve_shared(Warp& warp, const Instruction& i, Mask mask, u32 bytes, Use use, Access& access) {
  const u32 size = warp.context->shared_bytes;
  access.base = warp.block->shared.data();
  const Offense offense = finish_offsets(access, mask, bytes, size - bytes);
  if (offense.is_outside || size < bytes) {
    for (Mask rest = mask; rest != 0; rest &= rest - 1) {
      const u32 l = lowest_lane(rest);
      if (u64{access.offsets[l]} + bytes <= size) continue;
      raise(FaultKind::out_of_bounds, l,
            fmt::format(
                "{} of {} bytes at byte {} of shared memory, which has {} bytes ({} static, {} dynamic)",
                verb(use), bytes, static_cast<i32>(access.offsets[l]), size,
                warp.context->image->static_shared_bytes, warp.context->launch->dynamic_shared_bytes));
    }
  }
  if (offense.is_misaligned) {
    const u32 lane = first_misaligned(access, mask, bytes);
    fault_misaligned(lane, bytes, use, "shared memory", access.offsets[lane]);
  }
  check_shared_state(warp, access, mask, bytes, use);
  if (warp.block->races.is_on() && use != Use::atomic) check_shared_race(warp, i, access, mask, bytes, use);
  if (warp.tally != nullptr) count_shared(warp, i, access, mask, bytes);
}

Mask resolve_part(Warp& warp, const Instruction& i, Space space, const u64* addresses, Mask mask, u32 bytes,
                  Use use, Access& access) {
  u64 slot = addresses[lowest_lane(mask)] >> 32;
  if (space == Space::generic) {
    for (Mask rest = mask; rest != 0; rest &= rest - 1) {
      const u64 other = addresses[lowest_lane(rest)] >> 32;
      if (other != slot && (slot <= k_parameter_slot || other <= k_parameter_slot))
        mask &= ~(Mask{1} << lowest_lane(rest));
    }
  } else {
    slot = space == Space::shared ? k_shared_slot : space == Space::local ? k_local_slot : 0;
  }
  if (slot == k_shared_slot) {
    KERNELITES_LANES(l) access.offsets[l] = static_cast<u32>(addresses[l]);
    resolve_shared(warp, i, mask, bytes, use, access);
    return mask;
  }
  if (slot == k_local_slot) return resolve_local(warp, i, addresses, mask, bytes, use, access);
  if (slot == k_parameter_slot) return resolve_parameter(warp, addresses, mask, bytes, use, access);
  return resolve_global(warp, i, addresses, mask, bytes, use, access);
}

}  // namespace kernelites::worker::vgpu
