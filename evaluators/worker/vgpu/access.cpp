// SPDX-License-Identifier: Apache-2.0
// Checking of accesses, and the words for what is wrong with one.
#include "evaluators/worker/vgpu/access.h"

#include <algorithm>

#include <fmt/core.h>

#include "evaluators/worker/vgpu/traffic.h"

namespace kernelites::worker::vgpu {
namespace {

const char* verb(Use use) { return use == Use::load ? "read" : use == Use::store ? "write" : "atomic update"; }

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
    raise(FaultKind::out_of_bounds, lane, fmt::format("{} of {} bytes at address {:#x}: {}", verb(use), bytes, address, what));
  }
  if (region->removed) {
    raise(FaultKind::out_of_bounds, lane, fmt::format("{} of {} bytes of '{}', which is no longer allocated", verb(use), bytes, region->name));
  }
  const i64 offset = static_cast<i64>(address - region->base);
  raise(FaultKind::out_of_bounds, lane,
        fmt::format("{} of {} bytes reaches {} '{}' ({} bytes; byte offset {})", verb(use), bytes,
                    distance(offset, region->bytes, bytes), region->name, region->bytes, offset));
}

[[noreturn]] void fault_misaligned(u32 lane, u32 bytes, Use use, const std::string& where, u64 offset) {
  raise(FaultKind::misaligned, lane,
        fmt::format("{} of {} bytes at byte offset {} of {}, which is not a multiple of {}", verb(use), bytes, offset,
                    where, bytes));
}

u32 first_misaligned(const Access& access, Mask mask, u32 bytes) {
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    if ((access.offsets[lowest_lane(rest)] & (bytes - 1)) != 0) return lowest_lane(rest);
  }
  return lowest_lane(mask);
}

/// Sets offsets of inactive lanes, finds the shape, returns the or of all offsets.
u32 finish_offsets(Access& access, Mask mask, u32 bytes) {
  const u32 first = access.offsets[lowest_lane(mask)];
  if (mask != k_all_lanes) {
    KERNELITES_LANES(l) access.offsets[l] = is_active(mask, l) ? access.offsets[l] : first;
  }
  u32 any = 0, from_line = 0, from_first = 0;
  KERNELITES_LANES(l) {
    any |= access.offsets[l];
    from_line |= access.offsets[l] ^ (access.offsets[0] + l * bytes);
    from_first |= access.offsets[l] ^ first;
  }
  access.is_contiguous = from_line == 0 && mask == k_all_lanes;
  access.is_uniform = from_first == 0;
  return any;
}

bool all_bytes_are(const u8* state, u32 bytes, u8 value) {
  for (u32 k = 0; k < bytes; ++k) {
    if (state[k] != value) return false;
  }
  return true;
}

bool has_other_state(const u8* state, const Access& access, Mask mask, u32 bytes, u8 wanted, u32& lane) {
  if (access.is_contiguous || access.is_uniform) {
    const u32 span = access.is_contiguous ? bytes * k_lanes : bytes;
    if (all_bytes_are(state + access.offsets[0], span, wanted)) return false;
  } else if (bytes == 4) {
    Access words = access;
    words.base = const_cast<u8*>(state);
    u32 values[k_lanes], differs = 0;
    gather(words, 0, values);
    KERNELITES_LANES(l) differs |= values[l] ^ (0x01010101u * wanted);
    if (differs == 0) return false;
  }
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    lane = lowest_lane(rest);
    if (!all_bytes_are(state + access.offsets[lane], bytes, wanted)) return true;
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

u32 first_byte_unlike(const u8* state, u32 bytes, u8 value) {
  u32 k = 0;
  while (k < bytes && state[k] == value) ++k;
  return k;
}

void check_state(u8* state, const Access& access, Mask mask, u32 bytes, Use use, const std::string& where) {
  u32 lane = 0;
  if (use != Use::store && has_other_state(state, access, mask, bytes, k_written, lane)) {
    const u32 at = access.offsets[lane] + first_byte_unlike(state + access.offsets[lane], bytes, k_written);
    raise(FaultKind::uninitialised, lane,
          fmt::format("{} of {} bytes at byte offset {} of {}: byte {} was never written", verb(use), bytes,
                      access.offsets[lane], where, at));
  }
  if (use != Use::load) set_state(state, access, mask, bytes, k_written);
}

// ---- shared memory

void check_shared_race(Warp& warp, const Access& access, Mask mask, u32 bytes, Use use) {
  RaceDetector& races = warp.block->races;
  auto check = [&](u32 lane, u32 offset, u32 span) {
    const i64 conflict = use == Use::load ? races.read(warp.index, offset, span) : races.write(warp.index, offset, span);
    if (conflict < 0) return;
    const int writer = races.writer(static_cast<u32>(conflict));
    const bool was_write = writer >= 0 && writer != static_cast<int>(warp.index);
    raise(FaultKind::race, lane,
          fmt::format("warp {} {}s byte {} of shared memory, which {} since the last barrier: a __syncthreads() is missing between them",
                      warp.index, use == Use::load ? "read" : "write", conflict,
                      was_write ? fmt::format("warp {} has written", writer) : std::string("another warp has read")));
  };
  if (access.is_uniform) return check(lowest_lane(mask), access.offsets[0], bytes);
  if (access.is_contiguous) return check(0, access.offsets[0], bytes * k_lanes);
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    check(lowest_lane(rest), access.offsets[lowest_lane(rest)], bytes);
  }
}

void check_shared_state(Warp& warp, const Access& access, Mask mask, u32 bytes, Use use) {
  u8* state = warp.block->shared_state.data();
  u32 lane = 0;
  if (use != Use::store && has_other_state(state, access, mask, bytes, k_written, lane)) {
    const u8* bytes_of_lane = state + access.offsets[lane];
    if (std::find(bytes_of_lane, bytes_of_lane + bytes, k_copy_pending) != bytes_of_lane + bytes) {
      raise(FaultKind::copy_not_waited, lane,
            fmt::format("{} of byte {} of shared memory, which a cp.async is still filling: its cp.async.wait_group "
                        "(and the barrier behind it) is missing or waits for too few groups",
                        verb(use), access.offsets[lane]));
    }
    if (warp.context->options.checks.uninitialised) {
      raise(FaultKind::uninitialised, lane,
            fmt::format("{} of {} bytes of shared memory at byte {}, which nothing has written", verb(use), bytes,
                        access.offsets[lane]));
    }
  }
  if (use != Use::load) set_state(state, access, mask, bytes, k_written);
}

// ---- global and local memory

Mask resolve_global(Warp& warp, const Instruction& i, const u64* addresses, Mask mask, u32 bytes, Use use,
                    Access& access) {
  const u32 first = lowest_lane(mask);
  Region* region = warp.context->region(addresses[first]);
  if (region == nullptr || region->removed) fault_global(warp, first, addresses[first], bytes, use);
  const u64 base = region->base;
  const u64 limit = region->bytes - bytes;  // wraps if the region is smaller: `largest` is then compared to 2^64
  u64 high = 0;
  u32 largest = 0;
  KERNELITES_LANES(l) {
    const u64 offset = (is_active(mask, l) ? addresses[l] : addresses[first]) - base;
    access.offsets[l] = static_cast<u32>(offset);
    high |= offset >> 31;
    largest = std::max(largest, access.offsets[l]);
  }
  if (high != 0 || largest > limit || region->bytes < bytes) {
    Mask inside = 0;
    for (Mask rest = mask; rest != 0; rest &= rest - 1) {
      const u32 l = lowest_lane(rest);
      if (addresses[l] - base <= limit && region->bytes >= bytes) {
        inside |= Mask{1} << l;
      } else if (const Region* other = warp.context->region(addresses[l]); other == region || other == nullptr || l == first) {
        fault_global(warp, l, addresses[l], bytes, use);
      }
    }
    mask = inside;
    KERNELITES_LANES(l) access.offsets[l] = static_cast<u32>((is_active(mask, l) ? addresses[l] : addresses[first]) - base);
  }
  access.base = region->host;
  if ((finish_offsets(access, mask, bytes) & (bytes - 1)) != 0) {
    const u32 lane = first_misaligned(access, mask, bytes);
    fault_misaligned(lane, bytes, use, fmt::format("'{}'", region->name), access.offsets[lane]);
  }
  if (use != Use::load && !region->writable) {
    raise(FaultKind::read_only_write, first, fmt::format("{} of '{}', which is read-only, at byte offset {}", verb(use), region->name, access.offsets[first]));
  }
  if (region->initialised != nullptr && warp.context->options.checks.uninitialised) {
    check_state(region->initialised, access, mask, bytes, use, fmt::format("'{}'", region->name));
  } else if (region->initialised != nullptr && use != Use::load) {
    set_state(region->initialised, access, mask, bytes, k_written);
  }
  if (warp.tally != nullptr) count_global(warp, i, *region, access, mask, bytes, use);
  return mask;
}

Mask resolve_local(Warp& warp, const Instruction& i, const u64* addresses, Mask mask, u32 bytes, Use use, Access& access) {
  const u32 frame = warp.context->image->local_bytes;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 l = lowest_lane(rest);
    const u64 address = static_cast<u32>(addresses[l]);
    if (address + bytes > frame) {
      raise(FaultKind::out_of_bounds, l, fmt::format("{} of {} bytes at byte {} of local memory, which has {} bytes", verb(use), bytes, address, frame));
    }
    if ((address & (bytes - 1)) != 0) fault_misaligned(l, bytes, use, "local memory", address);
    access.offsets[l] = l * frame + static_cast<u32>(address);
  }
  access.base = warp.local;
  finish_offsets(access, mask, bytes);
  if (warp.context->options.checks.uninitialised) check_state(warp.local_state, access, mask, bytes, use, "local memory");
  if (warp.tally != nullptr) {
    warp.tally->traffic[static_cast<std::size_t>(&i - warp.context->image->code.data())].bytes += u64{lane_count(mask)} * bytes;
  }
  return mask;
}

Mask resolve_parameter(Warp& warp, const u64* addresses, Mask mask, u32 bytes, Use use, Access& access) {
  const auto& parameters = warp.context->launch->parameters;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 l = lowest_lane(rest), offset = static_cast<u32>(addresses[l]);
    if (u64{offset} + bytes > parameters.size()) {
      raise(FaultKind::out_of_bounds, l, fmt::format("{} of {} bytes at byte {} of the kernel's parameters ({} bytes)", verb(use), bytes, offset, parameters.size()));
    }
    if (use != Use::load) raise(FaultKind::read_only_write, l, "write to a kernel parameter");
    if ((offset & (bytes - 1)) != 0) fault_misaligned(l, bytes, use, "the kernel's parameters", offset);
    access.offsets[l] = offset;
  }
  access.base = reinterpret_cast<u8*>(const_cast<std::byte*>(parameters.data()));
  finish_offsets(access, mask, bytes);
  return mask;
}

}  // namespace

void resolve_shared(Warp& warp, const Instruction& i, const u32* addresses, Mask mask, u32 bytes, Use use,
                    Access& access) {
  const u32 size = warp.context->shared_bytes;
  std::memcpy(access.offsets, addresses, sizeof access.offsets);
  access.base = warp.block->shared.data();
  const u32 any = finish_offsets(access, mask, bytes);
  u32 largest = 0;
  KERNELITES_LANES(l) largest = std::max(largest, access.offsets[l]);
  if (u64{largest} + bytes > size) {
    for (Mask rest = mask; rest != 0; rest &= rest - 1) {
      const u32 l = lowest_lane(rest);
      if (u64{access.offsets[l]} + bytes <= size) continue;
      raise(FaultKind::out_of_bounds, l,
            fmt::format("{} of {} bytes at byte {} of shared memory, which has {} bytes ({} static, {} dynamic)", verb(use),
                        bytes, static_cast<i32>(access.offsets[l]), size, warp.context->image->static_shared_bytes,
                        warp.context->launch->dynamic_shared_bytes));
    }
  }
  if ((any & (bytes - 1)) != 0) {
    const u32 lane = first_misaligned(access, mask, bytes);
    fault_misaligned(lane, bytes, use, "shared memory", access.offsets[lane]);
  }
  check_shared_state(warp, access, mask, bytes, use);
  if (warp.block->races.is_on() && use != Use::atomic) check_shared_race(warp, access, mask, bytes, use);
  if (warp.tally != nullptr) count_shared(warp, i, access, mask, bytes);
}

Mask resolve_part(Warp& warp, const Instruction& i, Space space, const u64* addresses, Mask mask, u32 bytes,
                  Use use, Access& access) {
  u64 slot = addresses[lowest_lane(mask)] >> 32;
  if (space == Space::generic) {
    for (Mask rest = mask; rest != 0; rest &= rest - 1) {
      const u64 other = addresses[lowest_lane(rest)] >> 32;
      if (other != slot && (slot <= k_parameter_slot || other <= k_parameter_slot)) mask &= ~(Mask{1} << lowest_lane(rest));
    }
  } else {
    slot = space == Space::shared ? k_shared_slot : space == Space::local ? k_local_slot : 0;
  }
  if (slot == k_shared_slot) {
    u32 narrow[k_lanes];
    KERNELITES_LANES(l) narrow[l] = static_cast<u32>(addresses[l]);
    resolve_shared(warp, i, narrow, mask, bytes, use, access);
    return mask;
  }
  if (slot == k_local_slot) return resolve_local(warp, i, addresses, mask, bytes, use, access);
  if (slot == k_parameter_slot) return resolve_parameter(warp, addresses, mask, bytes, use, access);
  return resolve_global(warp, i, addresses, mask, bytes, use, access);
}

}  // namespace kernelites::worker::vgpu
