// SPDX-License-Identifier: Apache-2.0
// Operations across the lanes of a warp: shuffle, vote, match, reduce, elect.
#include <algorithm>

#include <fmt/core.h>

#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/lanes.h"
#include "evaluators/worker/vgpu/ops.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

enum class Shuffle : u8 { up, down, butterfly, index };

/// Source lane of `lane` for operands b and c of shfl (PTX ISA, shfl.sync); out of range: the lane itself, not valid.
inline u32 source_lane(Shuffle kind, u32 lane, u32 b, u32 c, bool& is_valid) {
  const u32 delta = b & 31, clamp = c & 31, segment = c >> 8 & 31;
  const u32 top = (lane & segment) | (clamp & ~segment), bottom = lane & segment;
  i32 from = 0;
  switch (kind) {
    case Shuffle::up:
      from = static_cast<i32>(lane - delta);
      is_valid = from >= static_cast<i32>(top);
      break;
    case Shuffle::down:
      from = static_cast<i32>(lane + delta);
      is_valid = from <= static_cast<i32>(top);
      break;
    case Shuffle::butterfly:
      from = static_cast<i32>(lane ^ delta);
      is_valid = from <= static_cast<i32>(top);
      break;
    case Shuffle::index:
      from = static_cast<i32>(bottom | (delta & ~segment));
      is_valid = from <= static_cast<i32>(top);
      break;
  }
  return is_valid ? static_cast<u32>(from) & 31 : lane;
}

/// A lane that reads from one that does not take part, or has exited, gets an unspecified value: a fault. Lanes that
/// the block never had are left to the NaN that they hold: small blocks reduce with whole masks and use lane 0's
/// result only.
void check_sources(Warp& warp, const u32* sources, Mask mask) {
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 lane = lowest_lane(rest), source = sources[lane];
    if (is_active(mask, source) || !is_active(warp.existing, source)) continue;
    raise(FaultKind::invalid_shuffle, lane,
          fmt::format("lane {} shuffles from lane {}, which {}", lane, source,
                      is_active(warp.alive, source) ? "does not take part in this shuffle" : "has exited"));
  }
}

void exchange(Warp& warp, const Instruction& i, Mask mask, const u32* sources, Mask valid) {
  if (mask != k_all_lanes) check_sources(warp, sources, mask);
  const u32* a = lanes_of<u32>(warp, i.a);
  u32 out[k_lanes];
  for (u32 l = 0; l < k_lanes; l += 8) {
    const __m256i index = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sources + l));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + l),
                        _mm256_i32gather_epi32(reinterpret_cast<const int*>(a), index, 4));
  }
  if (mask != k_all_lanes) {  // what a lane outside the shuffle holds is unspecified: a NaN shows itself
    KERNELITES_LANES(l) out[l] = is_active(mask, sources[l]) ? out[l] : ~0u;
  }
  write_lanes(lanes_of<u32>(warp, i.d), out, mask);
  write_predicate(warp, i.e, valid, mask);
}

/// b and c are constants: sources and valid mask are in the list.
void shuffle_fixed(Warp& warp, const Instruction& i, Mask mask) {
  const u32* sources = warp.context->image->lists.data() + i.list;
  exchange(warp, i, mask, sources, sources[k_lanes]);
}

void shuffle(Warp& warp, const Instruction& i, Mask mask) {
  const u32 *b = lanes_of<u32>(warp, i.b), *c = lanes_of<u32>(warp, i.c);
  u32 sources[k_lanes];
  Mask valid = 0;
  KERNELITES_LANES(l) {
    bool is_valid = false;
    sources[l] = source_lane(static_cast<Shuffle>(i.mode), l, b[l], c[l], is_valid);
    valid |= static_cast<Mask>(is_valid) << l;
  }
  exchange(warp, i, mask, sources, valid);
}

bool decode_shfl(Decoder& d, const Statement& s, Instruction& i) {
  if (s.parts.size() < 4 || s.parts[1] != "sync" || s.operands.size() != 5) return false;
  static constexpr std::string_view k_names[] = {"up", "down", "bfly", "idx"};
  const auto* name = std::find(std::begin(k_names), std::end(k_names), s.parts[2]);
  if (name == std::end(k_names)) return false;
  i.mode = static_cast<u8>(name - std::begin(k_names));
  i.op_class = OpClass::shuffle;
  i.d = d.destination(s.operands[0], 4);
  i.e = d.second_predicate(s.operands[0]);
  i.a = d.source(s.operands[1], 4);
  i.b = d.source(s.operands[2], 4);
  i.c = d.source(s.operands[3], 4);
  d.wait_for_members(s.operands[4], i);
  i.handler = shuffle;
  if (s.operands[2].kind != Operand::Kind::immediate || s.operands[3].kind != Operand::Kind::immediate)
    return true;
  std::vector<u32> sources(k_lanes + 1, 0);
  for (u32 lane = 0; lane < k_lanes; ++lane) {
    bool is_valid = false;
    sources[lane] = source_lane(static_cast<Shuffle>(i.mode), lane, static_cast<u32>(s.operands[2].immediate),
                                static_cast<u32>(s.operands[3].immediate), is_valid);
    sources[k_lanes] |= static_cast<u32>(is_valid) << lane;
  }
  i.handler = shuffle_fixed;
  i.list = d.add_list(sources);
  return true;
}

enum class Vote : u8 { all, any, uniform, ballot };

void vote(Warp& warp, const Instruction& i, Mask mask) {
  const Mask held = (read_predicate(warp, i.a) ^ (i.extra != 0 ? k_all_lanes : 0)) & mask;
  const Vote kind = static_cast<Vote>(i.mode);
  if (kind == Vote::ballot) {
    u32 out[k_lanes];
    std::fill(out, out + k_lanes, held);
    write_lanes(lanes_of<u32>(warp, i.d), out, mask);
    return;
  }
  const bool result = kind == Vote::all   ? held == mask
                      : kind == Vote::any ? held != 0
                                          : held == 0 || held == mask;
  write_predicate(warp, i.d, result ? mask : 0, mask);
}

bool decode_vote(Decoder& d, const Statement& s, Instruction& i) {
  if (s.parts.size() < 4 || s.parts[1] != "sync" || s.operands.size() != 3) return false;
  static constexpr std::string_view k_names[] = {"all", "any", "uni", "ballot"};
  const auto* name = std::find(std::begin(k_names), std::end(k_names), s.parts[2]);
  const bool is_ballot = s.parts[2] == "ballot";
  if (name == std::end(k_names) || s.parts[3] != (is_ballot ? "b32" : "pred")) return false;
  i.handler = vote;
  i.op_class = OpClass::shuffle;
  i.mode = static_cast<u8>(name - std::begin(k_names));
  i.d = is_ballot ? d.destination(s.operands[0], 4) : d.predicate_destination(s.operands[0]);
  i.a = d.negatable_predicate(s.operands[1]);
  i.extra = s.operands[1].is_negated;
  d.wait_for_members(s.operands[2], i);
  return true;
}

template <class T>
void match_any(Warp& warp, const Instruction& i, Mask mask) {
  const T* a = lanes_of<T>(warp, i.a);
  u32 out[k_lanes] = {};
  KERNELITES_LANES(l) {
    for (u32 other = 0; other < k_lanes; ++other) out[l] |= static_cast<u32>(a[l] == a[other]) << other;
    out[l] &= mask;
  }
  write_lanes(lanes_of<u32>(warp, i.d), out, mask);
}

template <class T>
void match_all(Warp& warp, const Instruction& i, Mask mask) {
  const T* a = lanes_of<T>(warp, i.a);
  bool is_same = true;
  KERNELITES_LANES(l) is_same &= !is_active(mask, l) || a[l] == a[lowest_lane(mask)];
  u32 out[k_lanes];
  std::fill(out, out + k_lanes, is_same ? mask : 0);
  write_lanes(lanes_of<u32>(warp, i.d), out, mask);
  write_predicate(warp, i.e, is_same ? mask : 0, mask);
}

bool decode_match(Decoder& d, const Statement& s, Instruction& i) {
  if (s.operands.size() != 3 || !s.has("sync")) return false;
  const u32 bytes = last_type(s).bytes;
  if (s.has("any")) i.handler = bytes == 8 ? Handler{match_any<u64>} : Handler{match_any<u32>};
  if (s.has("all")) i.handler = bytes == 8 ? Handler{match_all<u64>} : Handler{match_all<u32>};
  i.op_class = OpClass::shuffle;
  i.d = d.destination(s.operands[0], 4);
  i.e = d.second_predicate(s.operands[0]);
  i.a = d.source(s.operands[1], bytes);
  d.wait_for_members(s.operands[2], i);
  return i.handler != nullptr;
}

template <class T, class F>
void reduce(Warp& warp, const Instruction& i, Mask mask) {
  const T* a = lanes_of<T>(warp, i.a);
  T result = a[lowest_lane(mask)];
  for (Mask rest = mask & (mask - 1); rest != 0; rest &= rest - 1) result = F{}(result, a[lowest_lane(rest)]);
  T out[k_lanes];
  std::fill(out, out + k_lanes, result);
  write_lanes(lanes_of<T>(warp, i.d), out, mask);
}
struct Sum {
  u32 operator()(u32 a, u32 b) const { return a + b; }
};
struct And {
  u32 operator()(u32 a, u32 b) const { return a & b; }
};
struct Or {
  u32 operator()(u32 a, u32 b) const { return a | b; }
};
struct Xor {
  u32 operator()(u32 a, u32 b) const { return a ^ b; }
};
struct Least {
  template <class T>
  T operator()(T a, T b) const {
    return std::min(a, b);
  }
};
struct Greatest {
  template <class T>
  T operator()(T a, T b) const {
    return std::max(a, b);
  }
};

bool decode_redux(Decoder& d, const Statement& s, Instruction& i) {
  const PtxType type = last_type(s);
  if (s.operands.size() != 3 || !s.has("sync") || !type.is_integer()) return false;
  if (s.has("add")) i.handler = reduce<u32, Sum>;
  if (s.has("and")) i.handler = reduce<u32, And>;
  if (s.has("or")) i.handler = reduce<u32, Or>;
  if (s.has("xor")) i.handler = reduce<u32, Xor>;
  if (s.has("min")) i.handler = type.is_signed() ? Handler{reduce<i32, Least>} : Handler{reduce<u32, Least>};
  if (s.has("max"))
    i.handler = type.is_signed() ? Handler{reduce<i32, Greatest>} : Handler{reduce<u32, Greatest>};
  i.op_class = OpClass::shuffle;
  i.d = d.destination(s.operands[0], 4);
  i.a = d.source(s.operands[1], 4);
  d.wait_for_members(s.operands[2], i);
  return i.handler != nullptr;
}

/// Of the lanes whose guard holds (PTX: "predicated-on").
void active_mask(Warp& warp, const Instruction& i, Mask mask) {
  u32 out[k_lanes];
  std::fill(out, out + k_lanes, mask);
  write_lanes(lanes_of<u32>(warp, i.d), out, mask);
}

bool decode_activemask(Decoder& d, const Statement& s, Instruction& i) {
  if (s.operands.size() != 1) return false;
  i.handler = active_mask;
  i.op_class = OpClass::shuffle;
  i.d = d.destination(s.operands[0], 4);
  return true;
}

/// elect.sync d|p, members: the lowest lane of the members is the leader.
void elect(Warp& warp, const Instruction& i, Mask mask) {
  const u32 leader = lowest_lane(mask);
  u32 out[k_lanes];
  std::fill(out, out + k_lanes, leader);
  write_lanes(lanes_of<u32>(warp, i.d), out, mask);
  write_predicate(warp, i.e, Mask{1} << leader, mask);
}

bool decode_elect(Decoder& d, const Statement& s, Instruction& i) {
  if (s.operands.size() != 2) return false;
  i.handler = elect;
  i.op_class = OpClass::shuffle;
  i.d = d.destination(s.operands[0], 4);
  i.e = d.second_predicate(s.operands[0]);
  d.wait_for_members(s.operands[1], i);
  return true;
}

constexpr InstructionRow k_rows[] = {
    {"shfl", "b32", "sync up down bfly idx", decode_shfl},
    {"vote", "b32 pred", "sync all any uni ballot", decode_vote},
    {"match", "b32 b64", "sync any all", decode_match},
    {"redux", "b32 u32 s32", "sync add min max and or xor", decode_redux},
    {"activemask", "b32", "", decode_activemask},
    {"elect", "", "sync", decode_elect},
};

}  // namespace

std::span<const InstructionRow> warp_rows() { return k_rows; }

}  // namespace kernelites::worker::vgpu
