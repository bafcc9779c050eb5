// SPDX-License-Identifier: Apache-2.0
// Element by element.
#include "evaluators/worker/vgpu/bulk_reduction.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "evaluators/worker/vgpu/half.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

template <class T>
T combined(BulkOperator operation, T old, T operand) {
  using U = std::make_unsigned_t<T>;
  switch (operation) {
    case BulkOperator::move:
      return operand;
    case BulkOperator::add:
      return static_cast<T>(U(old) + U(operand));
    case BulkOperator::min:
      return std::min(old, operand);
    case BulkOperator::max:
      return std::max(old, operand);
    case BulkOperator::inc:
      return U(old) >= U(operand) ? T{0} : static_cast<T>(old + 1);
    case BulkOperator::dec:
      return old == 0 || U(old) > U(operand) ? operand : static_cast<T>(old - 1);
    case BulkOperator::and_:
      return old & operand;
    case BulkOperator::or_:
      return old | operand;
    case BulkOperator::xor_:
      return old ^ operand;
  }
  return old;
}

// Sums, as an H100 makes them (tests/vgpu/recorded, "TMA reductions"): denormals are kept.
float combined(BulkOperator, float old, float operand) {
  const float sum = old + operand;
  return sum != sum ? bits_as<float>(0x7fffffffu) : sum;
}
double combined(BulkOperator, double old, double operand) {
  if (operand != operand) return operand;
  return old != old ? old : old + operand;
}

constexpr u16 k_half_nan = 0x7fff;  ///< of both formats

template <class Format>
u16 combined_half(BulkOperator operation, u16 old, u16 operand) {
  const float a = Format::to_float(old), b = Format::to_float(operand);
  if (operation == BulkOperator::add) return Format::from_float(a + b);
  if (a != a) return b != b ? k_half_nan : operand;
  if (b != b) return old;
  if (a == b) return operation == BulkOperator::min ? old | operand : old & operand;  // zeros have signs
  return (operation == BulkOperator::min) == (b < a) ? operand : old;
}

template <class T, class Combine>
void each(u8* to, const u8* from, u32 bytes, Combine combine) {
  for (u32 at = 0; at + sizeof(T) <= bytes; at += sizeof(T)) {
    T value, operand;
    std::memcpy(&value, to + at, sizeof value);
    std::memcpy(&operand, from + at, sizeof operand);
    value = combine(value, operand);
    std::memcpy(to + at, &value, sizeof value);
  }
}

/// Sums of floating-point numbers, which `load` reads and `store` rounds.
template <class T, class Load, class Store>
void each_sum(ExactSums& sums, u8* to, const u8* from, u32 bytes, Load load, Store store) {
  for (u32 at = 0; at + sizeof(T) <= bytes; at += sizeof(T)) {
    T value, operand;
    std::memcpy(&value, to + at, sizeof value);
    std::memcpy(&operand, from + at, sizeof operand);
    value = store(sums.add(to + at, load(value), load(operand), [&](double x) { return load(store(x)); }));
    std::memcpy(to + at, &value, sizeof value);
  }
}

/// False: not a sum of floating-point numbers.
bool add_exactly(ExactSums& sums, BulkElement element, u8* to, const u8* from, u32 bytes) {
  const auto same = [](double x) { return x; };
  const auto rounded = [](double x) { return static_cast<float>(x); };
  const auto widened = [](float x) { return static_cast<double>(x); };
  if (element == BulkElement::f64)
    each_sum<double>(sums, to, from, bytes, same, same);
  else if (element == BulkElement::f32)
    each_sum<float>(sums, to, from, bytes, widened, rounded);
  else if (element == BulkElement::f16)
    each_sum<u16>(
        sums, to, from, bytes, [](u16 x) { return static_cast<double>(F16::to_float(x)); },
        [&](double x) { return F16::from_float(rounded(x)); });
  else if (element == BulkElement::bf16)
    each_sum<u16>(
        sums, to, from, bytes, [](u16 x) { return static_cast<double>(BF16::to_float(x)); },
        [&](double x) { return BF16::from_float(rounded(x)); });
  else
    return false;
  return true;
}

template <class T>
void each_plain(BulkOperator operation, u8* to, const u8* from, u32 bytes) {
  each<T>(to, from, bytes, [operation](T a, T b) { return combined(operation, a, b); });
}

}  // namespace

void combine_bytes(BulkOperator operation, BulkElement element, u8* to, const u8* from, u32 bytes,
                   ExactSums* sums) {
  if (bytes == 0) return;
  if (operation == BulkOperator::move) {
    std::memcpy(to, from, bytes);
    return;
  }
  if (sums && operation == BulkOperator::add && add_exactly(*sums, element, to, from, bytes)) return;
  switch (element) {
    case BulkElement::bytes:
      return;
    case BulkElement::int_u32:
      return each_plain<u32>(operation, to, from, bytes);
    case BulkElement::int_s32:
      return each_plain<i32>(operation, to, from, bytes);
    case BulkElement::int_u64:
      return each_plain<u64>(operation, to, from, bytes);
    case BulkElement::int_s64:
      return each_plain<i64>(operation, to, from, bytes);
    case BulkElement::f32:
      return each_plain<float>(operation, to, from, bytes);
    case BulkElement::f64:
      return each_plain<double>(operation, to, from, bytes);
    case BulkElement::f16:
      return each<u16>(to, from, bytes,
                       [operation](u16 a, u16 b) { return combined_half<F16>(operation, a, b); });
    case BulkElement::bf16:
      return each<u16>(to, from, bytes,
                       [operation](u16 a, u16 b) { return combined_half<BF16>(operation, a, b); });
  }
}

BulkOperator bulk_operator(std::string_view name) {
  constexpr std::pair<std::string_view, BulkOperator> k_names[] = {
      {"add", BulkOperator::add}, {"min", BulkOperator::min}, {"max", BulkOperator::max},
      {"inc", BulkOperator::inc}, {"dec", BulkOperator::dec}, {"and", BulkOperator::and_},
      {"or", BulkOperator::or_},  {"xor", BulkOperator::xor_}};
  for (const auto& [known, value] : k_names)
    if (known == name) return value;
  return BulkOperator::move;
}

BulkElement bulk_element(std::string_view type) {
  constexpr std::pair<std::string_view, BulkElement> k_types[] = {
      {"u32", BulkElement::int_u32}, {"b32", BulkElement::int_u32}, {"s32", BulkElement::int_s32},
      {"u64", BulkElement::int_u64}, {"b64", BulkElement::int_u64}, {"s64", BulkElement::int_s64},
      {"f16", BulkElement::f16},     {"bf16", BulkElement::bf16},   {"f32", BulkElement::f32},
      {"f64", BulkElement::f64}};
  for (const auto& [known, value] : k_types)
    if (known == type) return value;
  return BulkElement::bytes;
}

bool is_reduction(BulkOperator operation, BulkElement element) {
  const bool is_float = element == BulkElement::f32 || element == BulkElement::f64;
  const bool is_half = element == BulkElement::f16 || element == BulkElement::bf16;
  if (operation == BulkOperator::move || element == BulkElement::bytes) return false;
  if (is_float) return operation == BulkOperator::add;
  if (is_half) return operation <= BulkOperator::max;
  return true;
}

}  // namespace kernelites::worker::vgpu
