// SPDX-License-Identifier: Apache-2.0
// wmma: whole-matrix loads, stores and multiplications with fragments of an opaque layout.
//
// A fragment is a matrix of rows x columns spread over the lanes. For 16 x 16 accumulators and factors the layout is
// that of two mma.m16n8k16 (what devices do, and what some kernels rely on); for other shapes slot s of lane l is
// element 32 s + l in row-major order. Fragments with more slots than elements hold copies.
#include <algorithm>

#include "evaluators/worker/vgpu/access.h"
#include "evaluators/worker/vgpu/half.h"
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/ops.h"
#include "evaluators/worker/vgpu/tensor_sum.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

enum class Element : u8 { f16, bf16, tf32, f32, s8, u8_, s32 };
enum class Role : u8 { a, b, accumulator };

struct Shape {
  u32 m = 0, n = 0, k = 0;
};
constexpr Shape k_shapes[] = {{16, 16, 16}, {32, 8, 16}, {8, 32, 16}, {16, 16, 8}};
constexpr std::string_view k_shape_names[] = {"m16n16k16", "m32n8k16", "m8n32k16", "m16n16k8"};

struct Fragment {
  Role role = Role::a;
  Element element = Element::f16;
  u32 rows = 0, columns = 0;

  u32 per_register() const {
    const bool is_half = element == Element::f16 || element == Element::bf16;
    const bool is_byte = element == Element::s8 || element == Element::u8_;
    return is_half ? 2 : is_byte ? 4 : 1;
  }
  u32 bytes() const { return 4 / per_register(); }
};

struct Place {
  u32 row = 0, column = 0;
};

Place place_of(const Fragment& f, u32 slot, u32 lane) {
  if (f.rows != 16 || f.columns != 16 || f.per_register() > 2) {
    const u32 element = (slot * k_lanes + lane) % (f.rows * f.columns);
    return {element / f.columns, element % f.columns};
  }
  slot %= 8;
  const u32 g = lane / 4, t = 2 * (lane % 4) + slot % 2, q = slot / 2;
  if (f.role == Role::b) return {t + 8 * (q & 1), g + 8 * (q / 2)};
  return {g + 8 * (q & 1), t + 8 * (q / 2)};
}

Fragment fragment_of(Role role, Element element, const Shape& shape) {
  return {role, element, role == Role::b ? shape.k : shape.m, role == Role::a ? shape.k : shape.n};
}

// Instruction fields of a load or store: extra: role | element << 4 | shape << 8, size: 1 for column-major,
// c: stride register, count and list: registers.
constexpr u16 pack_fragment(Role role, Element element, u32 shape) {
  return static_cast<u16>(static_cast<u32>(role) | static_cast<u32>(element) << 4 | shape << 8);
}
Fragment unpack_fragment(u16 packed) {
  return fragment_of(static_cast<Role>(packed & 15), static_cast<Element>(packed >> 4 & 15),
                     k_shapes[packed >> 8]);
}

/// Calls body(slot, access, lanes, bytes) for the elements of a fragment: neighbours in a pair as one access.
template <class Body>
void for_each_slot(Warp& warp, const Instruction& i, const Fragment& f, Use use, Body body) {
  u64 base[k_lanes];
  read_addresses(warp, i, base);
  const u32 stride = lanes_of<u32>(warp, i.c)[0];
  const bool is_column_major = i.size == 1;
  const u32 slots = i.count * f.per_register();
  auto address = [&](u32 slot, u32 l) {
    const Place place = place_of(f, slot, l);
    const u64 index =
        is_column_major ? u64{place.column} * stride + place.row : u64{place.row} * stride + place.column;
    return base[l] + index * f.bytes();
  };
  for (u32 slot = 0; slot < slots;) {
    u64 addresses[k_lanes];
    bool is_pair = f.bytes() == 2 && slot % 2 == 0;
    KERNELITES_LANES(l) {
      addresses[l] = address(slot, l);
      is_pair = is_pair && addresses[l] % 4 == 0 && address(slot + 1, l) == addresses[l] + 2;
    }
    const u32 bytes = is_pair ? 4 : f.bytes();
    for (Mask rest = k_all_lanes; rest != 0;) {
      Access access;
      const Mask part =
          resolve_part(warp, i, static_cast<Space>(i.mode), addresses, rest, bytes, use, access);
      body(slot, access, part, bytes);
      if (use == Use::store) settle_store(warp);
      rest &= ~part;
    }
    slot += is_pair ? 2 : 1;
  }
}

u8* slot_bytes(Warp& warp, const u32* registers, const Fragment& f, u32 slot, u32 lane) {
  return warp.registers + registers[slot / f.per_register()] + 4 * lane +
         f.bytes() * (slot % f.per_register());
}

void load_fragment(Warp& warp, const Instruction& i, Mask mask) {
  require_whole_warp(warp, mask, "a wmma operation");
  const Fragment f = unpack_fragment(i.extra);
  const u32* registers = warp.context->image->lists.data() + i.list;
  u32 loaded[32][k_lanes];  // first into a copy: an address register may share its slot with a result
  for_each_slot(warp, i, f, Use::load, [&](u32 slot, const Access& access, Mask part, u32 bytes) {
    const u32 per = f.per_register();
    for (Mask rest = part; rest != 0; rest &= rest - 1) {
      const u32 l = lowest_lane(rest);
      std::memcpy(reinterpret_cast<u8*>(&loaded[slot / per][l]) + f.bytes() * (slot % per),
                  access.base + access.offsets[l], bytes);
    }
  });
  for (u32 r = 0; r < i.count; ++r)
    std::memcpy(lanes_of<u32>(warp, registers[r]), loaded[r], sizeof loaded[r]);
}

void store_fragment(Warp& warp, const Instruction& i, Mask mask) {
  require_whole_warp(warp, mask, "a wmma operation");
  const Fragment f = unpack_fragment(i.extra);
  const u32* registers = warp.context->image->lists.data() + i.list;
  for_each_slot(warp, i, f, Use::store, [&](u32 slot, const Access& access, Mask part, u32 bytes) {
    for (Mask rest = part; rest != 0; rest &= rest - 1) {
      const u32 l = lowest_lane(rest);
      std::memcpy(access.base + access.offsets[l], slot_bytes(warp, registers, f, slot, l), bytes);
    }
  });
}

template <class Value>
using Matrix = Value[32][32];

/// An element's value; integers are read as i32, floats as float.
template <class Value>
Value value_of(const u8* bytes, Element element) {
  u32 bits = 0;
  std::memcpy(&bits, bytes,
              element == Element::f16 || element == Element::bf16 ? 2
              : element == Element::s8 || element == Element::u8_ ? 1
                                                                  : 4);
  switch (element) {
    case Element::f16:
      return static_cast<Value>(F16::to_float(static_cast<u16>(bits)));
    case Element::bf16:
      return static_cast<Value>(BF16::to_float(static_cast<u16>(bits)));
    case Element::tf32:
      return static_cast<Value>(bits_as<float>(bits & ~0x1fffu));
    case Element::f32:
      return static_cast<Value>(bits_as<float>(bits));
    case Element::s8:
      return static_cast<Value>(static_cast<i8>(bits));
    case Element::u8_:
      return static_cast<Value>(bits);
    case Element::s32:
      return static_cast<Value>(static_cast<i32>(bits));
  }
  return 0;
}

/// One register of all lanes as values: lane l's are values[per_register * l ...].
template <class Value>
void unpack_register(const u8* bytes, const Fragment& f, Value* values) {
  if constexpr (std::is_same_v<Value, float>) {
    const u16* halves = reinterpret_cast<const u16*>(bytes);
    if (f.element == Element::f16) return F16::to_floats(halves, values, 64);
    if (f.element == Element::bf16) return BF16::to_floats(halves, values, 64);
  }
  for (u32 k = 0; k < k_lanes * f.per_register(); ++k)
    values[k] = value_of<Value>(bytes + k * f.bytes(), f.element);
}

template <class Value>
void gather_fragment(Warp& warp, const u32* registers, const Fragment& f, Matrix<Value>& matrix) {
  const u32 per = f.per_register();
  const u32 slots = std::max(1u, f.rows * f.columns / k_lanes);  // the slots behind these hold copies
  for (u32 r = 0; r * per < slots; ++r) {
    Value values[4 * k_lanes];
    unpack_register(warp.registers + registers[r], f, values);
    for (u32 e = 0; e < per; ++e) {
      KERNELITES_LANES(l) {
        const Place place = place_of(f, r * per + e, l);
        matrix[place.row][place.column] = values[l * per + e];
      }
    }
  }
}

template <class Value>
void spread_fragment(Warp& warp, const u32* registers, u32 count, const Fragment& f,
                     const Matrix<Value>& matrix) {
  for (u32 slot = 0; slot < count * f.per_register(); ++slot) {
    KERNELITES_LANES(l) {
      const Place place = place_of(f, slot, l);
      const Value value = matrix[place.row][place.column];
      const u32 bits =
          f.element == Element::f16 ? F16::from_float(static_cast<float>(value)) : bits_as<u32>(value);
      std::memcpy(slot_bytes(warp, registers, f, slot, l), &bits, f.bytes());
    }
  }
}

/// c += a b on floats, as tensor_sum.h says: one step over the whole depth, with tf32 two of four.
void multiply_matrices(const Shape& shape, Element factor, bool is_half, const Matrix<float>& a,
                       const Matrix<float>& b, Matrix<float>& c) {
  const i32 least = factor == Element::f16 ? -14 : -126;
  const u32 step_depth = factor == Element::tf32 ? 4 : shape.k;
  const TowardZero mode;
  for (u32 first = 0; first < shape.n; first += 8) {
    Floats columns[k_step_depth];
    Integers exponents_b[k_step_depth];
    for (u32 k = 0; k < shape.k; ++k) {
      std::memcpy(&columns[k], &b[k][first], sizeof columns[k]);
      exponents_b[k] = tensor_exponents(columns[k], least);
    }
    for (u32 row = 0; row < shape.m; ++row) {
      i32 exponents_a[k_step_depth];
      for (u32 k = 0; k < shape.k; ++k) exponents_a[k] = tensor_exponent(a[row][k], least);
      Floats sum;
      std::memcpy(&sum, &c[row][first], sizeof sum);
      for (u32 k = 0; k < shape.k; k += step_depth) {
        sum = tensor_sum({.a = a[row] + k,
                          .a_exponents = exponents_a + k,
                          .b = columns + k,
                          .b_exponents = exponents_b + k,
                          .depth = step_depth,
                          .least = is_half ? -14 : -126,
                          .to_half = is_half},
                         sum);
      }
      std::memcpy(&c[row][first], &sum, sizeof sum);
    }
  }
}

void multiply_matrices(const Shape& shape, Element, bool, const Matrix<i32>& a, const Matrix<i32>& b,
                       Matrix<i32>& c) {
  for (u32 row = 0; row < shape.m; ++row) {
    for (u32 column = 0; column < shape.n; ++column) {
      u32 sum = static_cast<u32>(c[row][column]);
      for (u32 k = 0; k < shape.k; ++k) sum += static_cast<u32>(a[row][k] * b[k][column]);
      c[row][column] = static_cast<i32>(sum);
    }
  }
}

// wmma.mma. list: counts of a, b, c, d, then registers of d, a, b, c; extra: element of a | of d << 4 | shape << 8;
// size: element of c; count: element of b.
template <class Value>
void multiply_fragments(Warp& warp, const Instruction& i, Mask mask) {
  require_whole_warp(warp, mask, "wmma.mma");
  const u32* list = warp.context->image->lists.data() + i.list;
  const Shape& shape = k_shapes[i.extra >> 8];
  const Element factor = static_cast<Element>(i.extra & 15), result = static_cast<Element>(i.extra >> 4 & 15);
  const u32 *d = list + 4, *a = d + list[3], *b = a + list[0], *c = b + list[1];
  alignas(32) Matrix<Value> ma, mb, mc;
  gather_fragment(warp, a, fragment_of(Role::a, factor, shape), ma);
  gather_fragment(warp, b, fragment_of(Role::b, static_cast<Element>(i.count), shape), mb);
  gather_fragment(warp, c, fragment_of(Role::accumulator, static_cast<Element>(i.size), shape), mc);
  multiply_matrices(shape, factor, result == Element::f16, ma, mb, mc);
  spread_fragment(warp, d, list[3], fragment_of(Role::accumulator, result, shape), mc);
  if (warp.tally != nullptr) warp.tally->tensor_flops[i.b] += 2u * shape.m * shape.n * shape.k;
}

bool find_element(std::string_view type, Element& element) {
  static constexpr std::string_view k_names[] = {"f16", "bf16", "tf32", "f32", "s8", "u8", "s32"};
  const auto* name = std::find(std::begin(k_names), std::end(k_names), type);
  element = static_cast<Element>(name - std::begin(k_names));
  return name != std::end(k_names);
}

bool find_shape(const Statement& s, u32& shape) {
  for (shape = 0; shape < std::size(k_shapes); ++shape) {
    if (s.has(k_shape_names[shape])) return true;
  }
  return false;
}

bool decode_transfer(Decoder& d, const Statement& s, Instruction& i, u32 shape, bool is_store) {
  Element element;
  if (s.operands.size() < 2 || s.parts.size() < 6 || !find_element(s.parts.back(), element)) return false;
  const Operand& memory = s.operands[is_store ? 0 : 1];
  const Operand& fragment = s.operands[is_store ? 1 : 0];
  const Role role = s.parts[2] == "a" ? Role::a : s.parts[2] == "b" ? Role::b : Role::accumulator;
  if (is_store)
    d.sources(fragment, 4, i);
  else
    d.destinations(fragment, 4, i);
  const bool is_shared = s.has("shared") || s.has("shared::cta");
  const Fragment f = fragment_of(role, element, k_shapes[shape]);
  if (i.count > 16 || i.count * f.per_register() * k_lanes < f.rows * f.columns) return false;
  i.mode = static_cast<u8>(is_shared ? Space::shared : s.has("global") ? Space::global : Space::generic);
  i.handler = is_store ? store_fragment : load_fragment;
  i.op_class = is_store ? (is_shared ? OpClass::shared_store : OpClass::global_store)
                        : (is_shared ? OpClass::shared_load : OpClass::global_load);
  i.size = s.has("col");
  i.extra = pack_fragment(role, element, shape);
  i.c = s.operands.size() > 2 ? d.source(s.operands[2], 4) : d.constant(i.size == 1 ? f.rows : f.columns, 4);
  return d.address(memory, i);
}

bool decode_multiply(Decoder& d, const Statement& s, Instruction& i, u32 shape) {
  if (s.operands.size() != 4) return false;
  const bool is_short = s.parts[s.parts.size() - 3].starts_with("m") ||
                        s.parts[s.parts.size() - 3] == "col" || s.parts[s.parts.size() - 3] == "row";
  Element result, left = Element::f16, right = Element::f16, addend;
  if (is_short) {  // .dtype.ctype: half factors
    if (!find_element(s.parts[s.parts.size() - 2], result) || !find_element(s.parts.back(), addend))
      return false;
  } else {  // .dtype.atype.btype.ctype
    const auto types = std::span(s.parts).last(4);
    if (!find_element(types[0], result) || !find_element(types[1], left) || !find_element(types[2], right) ||
        !find_element(types[3], addend))
      return false;
  }
  std::vector<u32> list;
  for (u32 k : {1u, 2u, 3u, 0u})
    list.push_back(static_cast<u32>(std::max<std::size_t>(1, s.operands[k].elements.size())));
  const Fragment fragments[] = {fragment_of(Role::a, left, k_shapes[shape]),
                                fragment_of(Role::b, right, k_shapes[shape]),
                                fragment_of(Role::accumulator, addend, k_shapes[shape]),
                                fragment_of(Role::accumulator, result, k_shapes[shape])};
  for (u32 k = 0; k < 4; ++k) {
    if (list[k] > 16 ||
        list[k] * fragments[k].per_register() * k_lanes < fragments[k].rows * fragments[k].columns)
      return false;
  }
  for (u32 k = 0; k < 4; ++k) {
    auto add = [&](const Operand& element) {
      list.push_back(k == 0 ? d.destination(element, 4) : d.source(element, 4));
    };
    if (s.operands[k].kind == Operand::Kind::vector)
      std::for_each(s.operands[k].elements.begin(), s.operands[k].elements.end(), add);
    else
      add(s.operands[k]);
  }
  i.list = d.add_list(list);
  const bool is_integer = result == Element::s32;
  if (is_integer != (addend == Element::s32) || is_integer != (left == Element::s8 || left == Element::u8_))
    return false;
  i.handler = is_integer ? Handler{multiply_fragments<i32>} : Handler{multiply_fragments<float>};
  i.op_class = OpClass::tensor;
  i.extra = static_cast<u16>(static_cast<u32>(left) | static_cast<u32>(result) << 4 | shape << 8);
  i.size = static_cast<u8>(addend);
  i.count = static_cast<u8>(right);
  i.b = static_cast<u32>(left == Element::f16    ? TensorType::f16
                         : left == Element::bf16 ? TensorType::bf16
                         : left == Element::tf32 ? TensorType::tf32
                                                 : TensorType::int8);
  return true;
}

bool decode_wmma(Decoder& d, const Statement& s, Instruction& i) {
  u32 shape = 0;
  if (s.parts.size() > 6 && s.has("m8n8k4")) return decode_wmma_double(d, s, i);
  if (s.parts.size() < 6 || s.has("rn") || !find_shape(s, shape)) return false;
  i.flow = Flow::warp_sync;
  if (s.parts[1] == "mma") return decode_multiply(d, s, i, shape);
  if (s.parts[1] != "load" && s.parts[1] != "store") return false;
  return decode_transfer(d, s, i, shape, s.parts[1] == "store");
}

constexpr std::string_view k_wmma_modifiers =
    "load store mma a b c d sync aligned row col rn global shared shared::cta m16n16k16 m32n8k16 m8n32k16 "
    "m16n16k8 "
    "m8n8k4";

constexpr InstructionRow k_rows[] = {
    {"wmma", "f16 bf16 tf32 f32 f64 s8 u8 s32", k_wmma_modifiers, decode_wmma},
};

}  // namespace

std::span<const InstructionRow> wmma_rows() { return k_rows; }

}  // namespace kernelites::worker::vgpu
