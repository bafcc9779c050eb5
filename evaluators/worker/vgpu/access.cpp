// SPDX-License-Identifier: Apache-2.0
// Checking of accesses to global, local and parameter memory, and the words for what is wrong with one.
#include "evaluators/worker/vgpu/access.h"

#include <algorithm>

#include <fmt/core.h>

#include "evaluators/worker/vgpu/access_shape.h"
#include "evaluators/worker/vgpu/race_report.h"
#include "evaluators/worker/vgpu/traffic.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

constexpr u64 k_null_page = 64 * 1024;  ///< null plus an index

/// "8 bytes past the end of" or "4 bytes before the start of".
std::string distance(i64 offset, u64 size, u32 bytes) {
  if (offset < 0) return fmt::format("{} bytes before the start of", -offset);
  const u64 past = static_cast<u64>(offset) + bytes - size;
  return fmt::format("{} bytes past the end of", std::max<u64>(past, 1));
}

[[noreturn]] void fault_global(const Warp& warp, u32 lane, u64 address, u32 bytes, Use use) {
  const Region* region = warp.context->region(address);
  if (const std::string* name = warp.context->memory->removed_name(address);
      region == nullptr && name != nullptr) {
    raise(FaultKind::out_of_bounds, lane,
          fmt::format("{} of {} bytes of '{}', which is no longer allocated", verb(use), bytes, *name));
  }
  if (region == nullptr) {
    // Without digits: an address can spell a value that the kernel has read.
    const char* const what =
        address < k_null_page ? "a null pointer"
        : address >> 32 == 0  ? "a wild pointer"
                             : "a pointer into no allocation (one tensor cannot be reached from a pointer to "
                               "another)";
    raise(FaultKind::out_of_bounds, lane, fmt::format("{} of {} bytes through {}", verb(use), bytes, what));
  }
  const i64 offset = static_cast<i64>(address - region->base);
  raise(FaultKind::out_of_bounds, lane,
        fmt::format("{} of {} bytes reaches {} '{}' ({} bytes; byte offset {})", verb(use), bytes,
                    distance(offset, region->bytes, bytes), region->name, region->bytes, offset));
}

/// Tensors in quotes, local memory without.
std::string quoted(std::string_view name) {
  return name.empty() ? "local memory" : fmt::format("'{}'", name);
}

void check_state(u8* state, const Access& access, Mask mask, u32 bytes, Use use, std::string_view where) {
  u32 lane = 0;
  if (use != Use::store && has_unwritten(state, access, mask, bytes, lane)) {
    const u32 at = access.offsets[lane] + first_unwritten(state + access.offsets[lane], bytes);
    raise(FaultKind::uninitialised, lane,
          fmt::format("{} of {} bytes at byte offset {} of {}: byte {} was never written; a read counts also "
                      "where what was read is masked later",
                      verb(use), bytes, access.offsets[lane], quoted(where), at));
  }
  if (use != Use::load) set_state(state, access, mask, bytes, k_written);
}

/// A read of unwritten memory is a race if another block writes it later; so the verdict waits for the end of the
/// launch, and whatever else goes wrong until then is taken for a consequence.
void check_global_state(Warp& warp, const Region& region, const Access& access, Mask mask, u32 bytes,
                        Use use) {
  LaunchState* const state = warp.context->state;
  if (use == Use::atomic || state == nullptr || !state->races)
    return check_state(region.initialised, access, mask, bytes, use, region.name);
  try {
    check_state(region.initialised, access, mask, bytes, use, region.name);
  } catch (const Raised& raised) {
    if (!state->early_read) {
      const u64 begin = access.offsets[raised.lane];
      state->early_read = EarlyGlobalRead{.fault = located(raised, *warp.context, *warp.block, &warp),
                                          .region = &region,
                                          .begin = begin,
                                          .end = begin + bytes,
                                          .warp = warp.index,
                                          .block = warp.block->index};
    }
  }
}

void check_early_read(Warp& warp, const Region& region, const Access& access, Mask mask, u32 bytes) {
  EarlyGlobalRead& early = *warp.context->state->early_read;
  const bool is_same_warp = early.block == warp.block->index && early.warp == warp.index;
  if (early.region != &region || is_same_warp) return;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u64 offset = access.offsets[lowest_lane(rest)];
    if (offset >= early.end || offset + bytes <= early.begin) continue;
    early.fault.kind = FaultKind::race;
    early.fault.message = early_read_text(warp, region, early);
    raise(FaultKind::uninitialised, lowest_lane(rest),
          early.fault.message);  // the early read's fault takes its place
  }
}

Mask resolve_global(Warp& warp, const Instruction& i, const u64* addresses, Mask mask, u32 bytes, Use use,
                    Access& access) {
  const u32 first = lowest_lane(mask);
  Region* region = warp.context->region(addresses[first]);
  if (region == nullptr) fault_global(warp, first, addresses[first], bytes, use);
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
  if (warp.context->state != nullptr && warp.context->state->early_read && use != Use::load) {
    check_early_read(warp, *region, access, mask, bytes);
  }
  if (region->initialised != nullptr && warp.context->options.checks.uninitialised) {
    check_global_state(warp, *region, access, mask, bytes, use);
  } else if (region->initialised != nullptr && use != Use::load) {
    set_state(region->initialised, access, mask, bytes, k_written);
  }
  note_poll(warp, i, access, use);
  LaunchState* const state = warp.context->state;
  if (region->writable && state != nullptr && state->races)
    check_global_race(warp, i, *region, access, mask, bytes, use);
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
  if (warp.context->options.checks.uninitialised) check_state(warp.local_state, access, mask, bytes, use, {});
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
    slot = space == Space::shared || space == Space::cluster ? k_shared_slot
           : space == Space::local                           ? k_local_slot
                                                             : 0;
  }
  if (slot == k_shared_slot) {
    if (space != Space::shared && warp.block->cluster != nullptr)
      return resolve_in_cluster(warp, i, addresses, mask, bytes, use, access);
    KERNELITES_LANES(l) access.offsets[l] = static_cast<u32>(addresses[l]);
    resolve_shared(warp, i, mask, bytes, use, access);
    return mask;
  }
  if (slot == k_local_slot) return resolve_local(warp, i, addresses, mask, bytes, use, access);
  if (slot == k_parameter_slot) return resolve_parameter(warp, addresses, mask, bytes, use, access);
  return resolve_global(warp, i, addresses, mask, bytes, use, access);
}

}  // namespace kernelites::worker::vgpu
