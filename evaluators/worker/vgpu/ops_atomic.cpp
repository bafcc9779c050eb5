// SPDX-License-Identifier: Apache-2.0
// Atomics and reductions. Lanes take turns in lane order, so results do not depend on anything but the schedule;
// a kernel that has global atomics runs on one thread (KernelImage::needs_order), so no host atomics are needed.
#include <algorithm>
#include <cmath>

#include "evaluators/worker/vgpu/access.h"
#include "evaluators/worker/vgpu/half.h"
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/memory_order.h"
#include "evaluators/worker/vgpu/ops.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

enum class Operation : u8 { add, min, max, exch, cas, and_, or_, xor_, inc, dec };

template <class T>
T integer_result(Operation operation, T old, T b, T c) {
  using U = std::make_unsigned_t<T>;
  switch (operation) {
    case Operation::add:
      return static_cast<T>(U(old) + U(b));
    case Operation::min:
      return std::min(old, b);
    case Operation::max:
      return std::max(old, b);
    case Operation::exch:
      return b;
    case Operation::cas:
      return old == b ? c : old;
    case Operation::and_:
      return old & b;
    case Operation::or_:
      return old | b;
    case Operation::xor_:
      return old ^ b;
    case Operation::inc:
      return U(old) >= U(b) ? T{0} : static_cast<T>(old + 1);
    case Operation::dec:
      return old == 0 || U(old) > U(b) ? b : static_cast<T>(old - 1);
  }
  return old;
}

template <class T>
T float_result(Operation operation, T old, T b) {
  if (operation == Operation::exch) return b;
  if (operation == Operation::add) {
    const T sum = old != old ? old + old : old + b;  // of two NaNs the first stays
    if constexpr (sizeof(T) == 4) return sum != sum ? bits_as<float>(0x7fffffffu) : sum;
    return sum;
  }
  if (b != b) return old;
  if (old != old) return b;
  return operation == Operation::min ? std::min(old, b) : std::max(old, b);
}

float flush(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }

/// What the memory side of the device does in global memory: f32 sums flush denormals, f64 sums hand on a NaN as it is.
float global_result(Operation operation, float old, float b) {
  return operation == Operation::add ? flush(float_result(operation, flush(old), flush(b)))
                                     : float_result(operation, old, b);
}
double global_result(Operation operation, double old, double b) {
  if (operation == Operation::add && old != old) return old;
  return operation == Operation::add && b != b ? b : float_result(operation, old, b);
}

template <class Format>
u16 half_result(Operation operation, u16 old, u16 b) {
  return Format::from_float(float_result(operation, Format::to_float(old), Format::to_float(b)));
}

/// `plain` as it would be without the roundings of the sum so far; what is no number, or zero either way, stays.
template <class T, class Round>
T exact_result(ExactSums& sums, const u8* at, T old, T b, T plain, Round round) {
  const double sum = sums.add(at, static_cast<double>(old), static_cast<double>(b),
                              [&](double x) { return static_cast<double>(round(static_cast<T>(x))); });
  return sum - sum != 0 || sum == static_cast<double>(plain) ? plain : static_cast<T>(sum);
}

struct Integers {
  template <class T>
  static T apply(Operation operation, T old, T b, T c) {
    return integer_result(operation, old, b, c);
  }
};
struct Wide {  // 128 bits: exch and cas only
  static u128 apply(Operation operation, u128 old, u128 b, u128 c) {
    return operation == Operation::cas ? (old == b ? c : old) : b;
  }
};
struct Floats {
  static u32 apply(Operation operation, u32 old, u32 b, u32) {
    return bits_as<u32>(float_result(operation, bits_as<float>(old), bits_as<float>(b)));
  }
  static u64 apply(Operation operation, u64 old, u64 b, u64) {
    return bits_as<u64>(float_result(operation, bits_as<double>(old), bits_as<double>(b)));
  }
  static u32 add_exactly(ExactSums& sums, const u8* at, u32 old, u32 b) {
    return bits_as<u32>(exact_result(sums, at, bits_as<float>(old), bits_as<float>(b),
                                     bits_as<float>(apply(Operation::add, old, b, 0)),
                                     [](float x) { return x; }));
  }
  static u64 add_exactly(ExactSums& sums, const u8* at, u64 old, u64 b) {
    return bits_as<u64>(exact_result(sums, at, bits_as<double>(old), bits_as<double>(b),
                                     bits_as<double>(apply(Operation::add, old, b, 0)),
                                     [](double x) { return x; }));
  }
};
struct GlobalFloats {
  static u32 apply(Operation operation, u32 old, u32 b, u32) {
    return bits_as<u32>(global_result(operation, bits_as<float>(old), bits_as<float>(b)));
  }
  static u64 apply(Operation operation, u64 old, u64 b, u64) {
    return bits_as<u64>(global_result(operation, bits_as<double>(old), bits_as<double>(b)));
  }
  static u32 add_exactly(ExactSums& sums, const u8* at, u32 old, u32 b) {
    return bits_as<u32>(exact_result(sums, at, bits_as<float>(old), bits_as<float>(b),
                                     bits_as<float>(apply(Operation::add, old, b, 0)), flush));
  }
  static u64 add_exactly(ExactSums& sums, const u8* at, u64 old, u64 b) {
    return bits_as<u64>(exact_result(sums, at, bits_as<double>(old), bits_as<double>(b),
                                     bits_as<double>(apply(Operation::add, old, b, 0)),
                                     [](double x) { return x; }));
  }
};
template <class Format>
struct Halves {
  static u16 apply(Operation operation, u16 old, u16 b, u16) {
    return half_result<Format>(operation, old, b);
  }
  static u32 apply(Operation operation, u32 old, u32 b, u32) {
    const u16 low = half_result<Format>(operation, static_cast<u16>(old), static_cast<u16>(b));
    const u16 high = half_result<Format>(operation, static_cast<u16>(old >> 16), static_cast<u16>(b >> 16));
    return u32{high} << 16 | low;
  }
  static u16 add_exactly(ExactSums& sums, const u8* at, u16 old, u16 b) {
    const float plain = Format::to_float(half_result<Format>(Operation::add, old, b));
    return Format::from_float(exact_result(sums, at, Format::to_float(old), Format::to_float(b), plain,
                                           [](float x) { return Format::to_float(Format::from_float(x)); }));
  }
  static u32 add_exactly(ExactSums& sums, const u8* at, u32 old, u32 b) {
    const u16 low = add_exactly(sums, at, static_cast<u16>(old), static_cast<u16>(b));
    const u16 high = add_exactly(sums, at + 2, static_cast<u16>(old >> 16), static_cast<u16>(b >> 16));
    return u32{high} << 16 | low;
  }
};

/// `list`: destinations (absent for red: mode bit in flags) and sources; `c`: the third operand of cas.
constexpr u8 k_has_result = 2;

template <class T, class Arithmetic>
void atomic(Warp& warp, const Instruction& i, Mask mask) {
  const u32* sources = warp.context->image->lists.data() + i.list;
  const u32* results = sources + i.count;
  const T* c = lanes_of<T>(warp, i.c);
  const Operation operation = static_cast<Operation>(i.extra);
  const LaunchState* const state = warp.context->state;
  ExactSums* const sums = state && operation == Operation::add ? state->sums.get() : nullptr;
  bool has_changed = false;
  for_each_part(warp, i, mask, sizeof(T) * i.count, Use::atomic, [&](const Access& access, Mask part) {
    for (Mask rest = part; rest != 0; rest &= rest - 1) {
      const u32 l = lowest_lane(rest);
      for (u32 k = 0; k < i.count; ++k) {
        T old, fresh;
        u8* at = access.base + access.offsets[l] + k * sizeof(T);
        std::memcpy(&old, at, sizeof old);
        const T operand = lanes_of<T>(warp, sources[k])[l];
        fresh = Arithmetic::apply(operation, old, operand, c[l]);
        if constexpr (requires { Arithmetic::add_exactly(*sums, at, old, operand); })
          if (sums) fresh = Arithmetic::add_exactly(*sums, at, old, operand);
        std::memcpy(at, &fresh, sizeof fresh);
        has_changed |= std::memcmp(&old, &fresh, sizeof fresh) != 0;
        if ((i.flags & k_has_result) != 0) lanes_of<T>(warp, results[k])[l] = old;
      }
    }
  });
  if (has_changed) note_change(warp);
}

Handler handler_of(const PtxType& type, bool is_shared) {
  using Kind = PtxType::Kind;
  switch (type.kind) {
    case Kind::signed_:
      return type.bytes == 8   ? Handler{atomic<i64, Integers>}
             : type.bytes == 4 ? Handler{atomic<i32, Integers>}
                               : nullptr;
    case Kind::unsigned_:
    case Kind::bits:
      return type.bytes == 16  ? Handler{atomic<u128, Wide>}
             : type.bytes == 8 ? Handler{atomic<u64, Integers>}
             : type.bytes == 4 ? Handler{atomic<u32, Integers>}
             : type.bytes == 2 ? Handler{atomic<u16, Integers>}
                               : nullptr;
    case Kind::f:
      if (type.bytes == 8)
        return is_shared ? Handler{atomic<u64, Floats>} : Handler{atomic<u64, GlobalFloats>};
      return type.bytes == 4 ? (is_shared ? Handler{atomic<u32, Floats>} : Handler{atomic<u32, GlobalFloats>})
                             : Handler{atomic<u16, Halves<F16>>};
    case Kind::bf:
      return atomic<u16, Halves<BF16>>;
    case Kind::f16x2:
      return atomic<u32, Halves<F16>>;
    case Kind::bf16x2:
      return atomic<u32, Halves<BF16>>;
    default:
      return nullptr;
  }
}

bool find_operation(const Statement& s, Instruction& i) {
  static constexpr std::string_view k_names[] = {"add", "min", "max", "exch", "cas",
                                                 "and", "or",  "xor", "inc",  "dec"};
  for (u16 k = 0; k < 10; ++k) {
    if (!s.has(k_names[k])) continue;
    i.extra = k;
    return true;
  }
  return false;
}

/// The type is the last part, but for vectors: atom.global.v2.f32.add.
PtxType element_type(const Statement& s) {
  for (std::size_t k = s.parts.size(); k-- > 1;) {
    const PtxType type = type_of(s.parts[k]);
    if (type.kind != PtxType::Kind::other) return type;
  }
  return {};
}

bool decode_atomic(Decoder& d, const Statement& s, Instruction& i) {
  const bool is_red = s.is("red");
  if (s.has("async")) return is_red && decode_remote(d, s, i);
  if (s.has("mbarrier::complete_tx::bytes")) return false;
  const std::size_t first = is_red ? 0 : 1;
  if (s.operands.size() < first + 2 || !find_operation(s, i)) return false;
  const PtxType type = element_type(s);
  const Operation operation = static_cast<Operation>(i.extra);
  i.op_class = OpClass::atomic;
  i.flags |= memory_order(s);
  const bool is_cluster = s.has("shared::cluster"), is_shared = s.has("shared") || s.has("shared::cta");
  i.handler = handler_of(type, is_shared || is_cluster);
  i.mode = static_cast<u8>(is_cluster        ? Space::cluster
                           : is_shared       ? Space::shared
                           : s.has("global") ? Space::global
                                             : Space::generic);
  if (!type.is_integer() && operation > Operation::exch) return false;
  if (type.bytes == 16 && operation != Operation::exch && operation != Operation::cas) return false;
  d.sources(s.operands[first + 1], type.bytes, i);
  if (i.count != vector_width(s) || i.count * type.bytes > 16) return false;
  if (!is_red) {
    Instruction results;
    d.destinations(s.operands[0], type.bytes, results);  // lands right behind the sources
    if (results.count != i.count || results.list != i.list + i.count) return false;
    i.flags |= k_has_result;
  }
  i.c = d.constant(0, type.bytes);
  if (operation == Operation::cas) {
    if (s.operands.size() < first + 3 || i.count != 1) return false;
    i.c = d.source(s.operands[first + 2], type.bytes);
  }
  return i.handler != nullptr && d.address(s.operands[first], i);
}

constexpr std::string_view k_atomic_types = "b16 b32 b64 b128 u32 u64 s32 s64 f16 f16x2 bf16 bf16x2 f32 f64";
constexpr std::string_view k_atomic_modifiers =
    "relaxed acquire release acq_rel cta cluster gpu sys global shared shared::cta shared::cluster async "
    "mbarrier::complete_tx::bytes add min max exch cas and "
    "or "
    "xor inc dec noftz v2 v4 v8 L2::cache_hint";

constexpr InstructionRow k_rows[] = {
    {"atom", k_atomic_types, k_atomic_modifiers, decode_atomic},
    {"red", k_atomic_types, k_atomic_modifiers, decode_atomic, ResultKind::none},
};

}  // namespace

std::span<const InstructionRow> atomic_rows() { return k_rows; }

}  // namespace kernelites::worker::vgpu
