// SPDX-License-Identifier: Apache-2.0
// Loads and stores of all state spaces, scalar and vector.
#include <fmt/core.h>

#include "evaluators/worker/vgpu/access.h"
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/memory_order.h"
#include "evaluators/worker/vgpu/ops.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

/// Loads `count` elements of memory type M into registers of type R.
template <class M, class R>
void load(Warp& warp, const Instruction& i, Mask mask) {
  const u32* registers = warp.context->image->lists.data() + i.list;
  const u32 bytes = sizeof(M) * i.count;
  for_each_part(warp, i, mask, bytes, Use::load, [&](const Access& access, Mask part) {
    for (u32 k = 0; k < i.count; ++k) {
      M raw[k_lanes];
      if (access.is_contiguous && i.count == 1) {
        std::memcpy(raw, access.base + access.offsets[0], sizeof raw);
      } else {
        gather(access, k * sizeof(M), raw);
      }
      if constexpr (std::is_same_v<M, R>) {
        write_lanes(lanes_of<R>(warp, registers[k]), raw, part);
      } else {
        R out[k_lanes];
        KERNELITES_LANES(l) out[l] = static_cast<R>(raw[l]);
        write_lanes(lanes_of<R>(warp, registers[k]), out, part);
      }
    }
  });
}

/// Of lanes that store different values to one place, any may win.
template <class M>
void check_lanes_agree(const Access& access, u32 displacement, const M* values, Mask mask) {
  if (access.stride >= sizeof(M)) return;
  M found[k_lanes];
  gather(access, displacement, found);
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 lane = lowest_lane(rest);
    if (std::memcmp(&found[lane], &values[lane], sizeof(M)) == 0) continue;
    u32 other = lane;
    while (other + 1 < k_lanes && (access.offsets[other] != access.offsets[lane] || other == lane)) ++other;
    raise(FaultKind::race, lane,
          fmt::format(
              "lanes {} and {} of a warp write different values to the same place with one instruction: "
              "which of them stays is left open",
              lane, other));
  }
}

template <class M, class R>
void store(Warp& warp, const Instruction& i, Mask mask) {
  const u32* registers = warp.context->image->lists.data() + i.list;
  const u32 bytes = sizeof(M) * i.count;
  for_each_part(warp, i, mask, bytes, Use::store, [&](const Access& access, Mask part) {
    for (u32 k = 0; k < i.count; ++k) {
      const R* values = lanes_of<R>(warp, registers[k]);
      M raw[k_lanes];
      KERNELITES_LANES(l) raw[l] = static_cast<M>(values[l]);
      if (access.is_contiguous && i.count == 1) {
        std::memcpy(access.base + access.offsets[0], raw, sizeof raw);
      } else {
        scatter(access, k * sizeof(M), raw, part);
        if (!access.is_contiguous && warp.context->options.checks.races)
          check_lanes_agree(access, k * sizeof(M), raw, part);
      }
    }
  });
}

template <template <class, class> class Choose>
Handler by_width(const PtxType& type, u32 width) {
  const bool s = type.is_signed();
  switch (type.bytes * 16 + width) {
    case 16 + 2:
      return s ? Choose<i8, u16>::handler : Choose<u8, u16>::handler;
    case 16 + 4:
      return s ? Choose<i8, u32>::handler : Choose<u8, u32>::handler;
    case 16 + 8:
      return s ? Choose<i8, u64>::handler : Choose<u8, u64>::handler;
    case 32 + 2:
      return Choose<u16, u16>::handler;
    case 32 + 4:
      return s ? Choose<i16, u32>::handler : Choose<u16, u32>::handler;
    case 32 + 8:
      return s ? Choose<i16, u64>::handler : Choose<u16, u64>::handler;
    case 64 + 4:
      return Choose<u32, u32>::handler;
    case 64 + 8:
      return s ? Choose<i32, u64>::handler : Choose<u32, u64>::handler;
    case 128 + 8:
      return Choose<u64, u64>::handler;
    case 256 + 16:
      return Choose<u128, u128>::handler;
    default:
      return nullptr;
  }
}
template <class M, class R>
struct ChooseLoad {
  static constexpr Handler handler = load<M, R>;
};
template <class M, class R>
struct ChooseStore {
  static constexpr Handler handler = store<M, R>;
};

/// Kernel parameters are the same for all lanes.
template <class M, class R>
void load_parameter(Warp& warp, const Instruction& i, Mask mask) {
  const u32* registers = warp.context->image->lists.data() + i.list;
  const std::byte* source = warp.context->launch->parameters.data() + i.offset;
  for (u32 k = 0; k < i.count; ++k) {
    M value;
    std::memcpy(&value, source + k * sizeof(M), sizeof value);
    R out[k_lanes];
    KERNELITES_LANES(l) out[l] = static_cast<R>(value);
    write_lanes(lanes_of<R>(warp, registers[k]), out, mask);
  }
}
template <class M, class R>
struct ChooseParameterLoad {
  static constexpr Handler handler = load_parameter<M, R>;
};

Space space_of(const Statement& s) {
  for (std::string_view part : s.parts) {
    if (part == "global" || part == "const") return Space::global;
    if (part == "shared" || part == "shared::cta") return Space::shared;
    if (part == "shared::cluster") return Space::cluster;
    if (part == "local") return Space::local;
    if (part == "param" || part.starts_with("param::")) return Space::parameter;
  }
  return Space::generic;
}

u32 operand_width(const Decoder& d, const Operand& operand, u32 bytes) {
  const u32 least = std::max(2u, bytes);
  if (operand.kind != Operand::Kind::vector) return d.register_width(operand, least);
  for (const Operand& element : operand.elements) {
    if (element.kind == Operand::Kind::reg) return d.register_width(element, least);
  }
  return least;
}

OpClass class_of(Space space, bool is_store) {
  switch (space) {
    case Space::shared:
    case Space::cluster:
      return is_store ? OpClass::shared_store : OpClass::shared_load;
    case Space::local:
      return is_store ? OpClass::local_store : OpClass::local_load;
    case Space::parameter:
      return OpClass::parameter_load;
    default:
      return is_store ? OpClass::global_store : OpClass::global_load;
  }
}

/// ld.param of a kernel: straight from the launch.
bool decode_parameter_load(Decoder& d, const Operand& memory, const PtxType& type, u32 width, u32 offset,
                           Instruction& i) {
  const u64 at = offset + memory.immediate;
  const u64 end = d.image().parameter_bytes, size = u64{type.bytes} * i.count;
  if (size > end || at > end - size) return false;
  i.offset = static_cast<i32>(at);
  i.handler = by_width<ChooseParameterLoad>(type, width);
  return i.handler != nullptr;
}

/// Parameters of functions live in local memory, those of a kernel are read through their window.
bool place_parameter(Decoder& d, const Operand& memory, Instruction& i) {
  Decoder::ParameterPlace place;
  i.mode = static_cast<u8>(Space::generic);
  if (memory.local >= 0 || (!memory.name.empty() && d.find_parameter(memory, place)))
    i.op_class = OpClass::move;
  return d.address(memory, i);
}

/// One byte holds them all.
static_assert(((k_strong_access | k_acquire_access | k_release_access | k_block_access | k_uncached_access |
                k_constant_access) &
               (k_narrow_address | k_async_proxy)) == 0 &&
              (k_strong_access ^ k_acquire_access ^ k_release_access ^ k_block_access ^ k_uncached_access ^
               k_constant_access ^ k_narrow_address ^ k_async_proxy) == 255);

bool decode_access(Decoder& d, const Statement& s, Instruction& i, bool is_store) {
  if (s.operands.size() < 2) return false;
  const Operand& memory = s.operands[is_store ? 0 : 1];
  const Operand& value = s.operands[is_store ? 1 : 0];
  const PtxType type = last_type(s);
  const u32 width = operand_width(d, value, type.bytes);
  const Space space = space_of(s);
  if (is_store)
    d.sources(value, width, i);
  else
    d.destinations(value, width, i);
  if (i.count != vector_width(s) || type.bytes * i.count > 32) return false;
  i.op_class = class_of(space, is_store);
  i.handler = is_store ? by_width<ChooseStore>(type, width) : by_width<ChooseLoad>(type, width);
  if (space == Space::parameter) {
    Decoder::ParameterPlace place;
    const bool is_formal = memory.local < 0 && memory.reg < 0 && d.find_parameter(memory, place);
    if (is_formal && !place.is_local) {
      return !is_store && decode_parameter_load(d, memory, type, width, place.offset, i);
    }
    return place_parameter(d, memory, i);
  }
  i.mode = static_cast<u8>(space);
  i.flags |= memory_order(s);
  return d.address(memory, i) && i.handler != nullptr;
}

bool decode_ld(Decoder& d, const Statement& s, Instruction& i) { return decode_access(d, s, i, false); }
bool decode_st(Decoder& d, const Statement& s, Instruction& i) {
  return s.has("async") ? decode_remote(d, s, i)
                        : !s.has("mbarrier::complete_tx::bytes") && decode_access(d, s, i, true);
}

constexpr std::string_view k_memory_types = "b8 b16 b32 b64 b128 u8 u16 u32 u64 s8 s16 s32 s64 f32 f64";
constexpr std::string_view k_load_modifiers =
    "weak relaxed acquire volatile mmio cta cluster gpu sys global shared shared::cta shared::cluster local "
    "const param "
    "param::entry param::func v2 v4 v8 ca cg cs lu cv nc unified L1::evict_normal L1::evict_unchanged "
    "L1::evict_first L1::evict_last L1::no_allocate L2::evict_normal L2::evict_first L2::evict_last "
    "L2::cache_hint L2::64B L2::128B L2::256B";
constexpr std::string_view k_store_modifiers =
    "weak relaxed release volatile mmio cta cluster gpu sys global shared shared::cta shared::cluster local "
    "param "
    "async mbarrier::complete_tx::bytes "
    "param::func "
    "v2 v4 v8 wb cg cs wt L1::evict_normal L1::evict_unchanged L1::evict_first L1::evict_last "
    "L1::no_allocate "
    "L2::evict_normal L2::evict_first L2::evict_last L2::cache_hint";

constexpr InstructionRow k_rows[] = {
    {"ld", k_memory_types, k_load_modifiers, decode_ld},
    {"ldu", k_memory_types, "global v2 v4", decode_ld},
    {"st", k_memory_types, k_store_modifiers, decode_st, ResultKind::none},
};

}  // namespace

std::span<const InstructionRow> memory_rows() { return k_rows; }

}  // namespace kernelites::worker::vgpu
