// SPDX-License-Identifier: Apache-2.0
// The arithmetic of plans as host code: what has no value is noted instead of computed, so that nothing is undefined.
//
// An export writes a kernel's plan anew, in terms of these functions. Sums and products that do not fit, division by
// zero, shifts by too much, numbers that a type cannot hold, an index beyond an array and work without end set
// `Run::trouble`; the plan then counts as one that the shape does not have. What the constant evaluator accepts has
// the same value here.
#pragma once

#include <initializer_list>
#include <limits>
#include <type_traits>

#include "tools/exporting/runtime/library_name.h"

namespace KERNELITES_LIBRARY::safe {

enum Trouble : int { no_trouble, too_long, too_large, by_zero, outside, no_number };

inline constexpr const char* k_trouble_words[] = {
    "",
    "its plan takes too many steps at this shape",
    "its plan computes a number that is too large at this shape",
    "its plan divides by zero at this shape",
    "its plan asks for an entry beyond a table at this shape",
    "its plan turns a number that is too large into a whole one at this shape"};

/// Of one plan: steps that are left, and the first trouble.
struct Run {
  long long steps = 1 << 18;
  Trouble trouble = no_trouble;

  constexpr Run() = default;
  // Nobody may put back what was counted.
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  constexpr Run& self() { return *this; }
};

/// Not constexpr: a constant that meets trouble is refused by the compiler.
inline void not_constant() {}
constexpr void fail(Run& run, Trouble trouble) {
  if (std::is_constant_evaluated()) not_constant();
  if (run.trouble == no_trouble) run.trouble = trouble;
}

/// One step of a loop or a call: whether to go on.
constexpr bool go(Run& run, bool condition) {
  if (!condition) return false;
  if (run.steps > 0) {
    --run.steps;
    return true;
  }
  fail(run, too_long);
  return false;
}

template <typename T>
concept Number = std::is_arithmetic_v<T> || std::is_enum_v<T>;

/// A number as operators see it. Nothing else has a value: no array, no text, no tensor.
template <Number T>
constexpr auto value(T x) {
  if constexpr (std::is_enum_v<T>)
    return +static_cast<std::underlying_type_t<T>>(x);
  else
    return x;
}
template <Number T>
constexpr auto whole(T x) {
  static_assert(!std::is_floating_point_v<T>, "a whole number is expected");
  return value(x);
}
template <Number T>
constexpr bool truth(T x) {
  return value(x) != 0;
}

/// `x` as T.
template <typename T, Number From>
constexpr T to(Run& run, From x) {
  static_assert(std::is_arithmetic_v<T>, "only numbers are converted");
  if constexpr (std::is_same_v<T, bool>) {
    return value(x) != 0;
  } else if constexpr (std::is_floating_point_v<From> && !std::is_floating_point_v<T>) {
    // The powers of two around T's range are exact.
    constexpr long double k_high = 2.0L * (std::numeric_limits<T>::max() / 2 + 1);
    constexpr long double k_low = std::is_signed_v<T> ? -k_high : -1.0L;
    const bool fits = std::is_signed_v<T> ? x >= k_low && x < k_high : x > k_low && x < k_high;
    if (fits) return static_cast<T>(x);
    fail(run, no_number);
    return T();
  } else if constexpr (std::is_floating_point_v<From> && sizeof(T) < sizeof(From)) {
    const bool fits = !(x > std::numeric_limits<T>::max()) && !(x < std::numeric_limits<T>::lowest());
    if (!fits) fail(run, no_number);
    return fits ? static_cast<T>(x) : T();
  } else {
    return static_cast<T>(value(x));
  }
}

template <typename A, typename B>
using Common = decltype(value(A()) + value(B()));

template <typename R>
constexpr void checked(Run& run, bool overflows) {
  if (overflows && std::is_signed_v<R>) fail(run, too_large);
}

template <Number A, Number B>
constexpr Common<A, B> add(Run& run, A a, B b) {
  using R = Common<A, B>;
  R result = R();
  if constexpr (std::is_floating_point_v<R>)
    return static_cast<R>(value(a)) + static_cast<R>(value(b));
  else
    return checked<R>(run,
                      __builtin_add_overflow(static_cast<R>(value(a)), static_cast<R>(value(b)), &result)),
           result;
}
template <Number A, Number B>
constexpr Common<A, B> subtract(Run& run, A a, B b) {
  using R = Common<A, B>;
  R result = R();
  if constexpr (std::is_floating_point_v<R>)
    return static_cast<R>(value(a)) - static_cast<R>(value(b));
  else
    return checked<R>(run,
                      __builtin_sub_overflow(static_cast<R>(value(a)), static_cast<R>(value(b)), &result)),
           result;
}
template <Number A, Number B>
constexpr Common<A, B> multiply(Run& run, A a, B b) {
  using R = Common<A, B>;
  R result = R();
  if constexpr (std::is_floating_point_v<R>)
    return static_cast<R>(value(a)) * static_cast<R>(value(b));
  else
    return checked<R>(run,
                      __builtin_mul_overflow(static_cast<R>(value(a)), static_cast<R>(value(b)), &result)),
           result;
}

/// Whether a whole quotient has a value.
template <typename R>
constexpr bool divides(Run& run, R a, R b) {
  if (b == 0) {
    fail(run, by_zero);
    return false;
  }
  if constexpr (std::is_signed_v<R>) {
    if (b == -1 && a == std::numeric_limits<R>::min()) {
      fail(run, too_large);
      return false;
    }
  }
  return true;
}
template <Number A, Number B>
constexpr Common<A, B> divide(Run& run, A a, B b) {
  using R = Common<A, B>;
  const R x = static_cast<R>(value(a)), y = static_cast<R>(value(b));
  if constexpr (std::is_floating_point_v<R>) {
    if (y == 0) fail(run, by_zero);
    return y == 0 ? R() : x / y;
  } else {
    return divides(run, x, y) ? x / y : R();
  }
}
template <Number A, Number B>
constexpr Common<A, B> remainder(Run& run, A a, B b) {
  using R = Common<A, B>;
  static_assert(!std::is_floating_point_v<R>, "a remainder is of whole numbers");
  const R x = static_cast<R>(value(a)), y = static_cast<R>(value(b));
  return divides(run, x, y) ? x % y : R();
}

template <typename R, typename B>
constexpr bool shifts(Run& run, B b) {
  const auto by = whole(b);
  if (by >= 0 && static_cast<unsigned long long>(by) < sizeof(R) * 8) return true;
  fail(run, too_large);
  return false;
}
template <Number A, Number B>
constexpr auto shift_left(Run& run, A a, B b) {
  using R = decltype(+whole(a));
  return shifts<R>(run, b) ? static_cast<R>(static_cast<std::make_unsigned_t<R>>(whole(a)) << whole(b)) : R();
}
template <Number A, Number B>
constexpr auto shift_right(Run& run, A a, B b) {
  using R = decltype(+whole(a));
  return shifts<R>(run, b) ? static_cast<R>(static_cast<R>(whole(a)) >> whole(b)) : R();
}

template <Number A, Number B>
constexpr auto both(Run&, A a, B b) {
  return whole(a) & whole(b);
}
template <Number A, Number B>
constexpr auto either(Run&, A a, B b) {
  return whole(a) | whole(b);
}
template <Number A, Number B>
constexpr auto differs(Run&, A a, B b) {
  return whole(a) ^ whole(b);
}
template <Number A>
constexpr auto negative(Run& run, A a) {
  using R = decltype(+value(a));
  if constexpr (std::is_floating_point_v<R>)
    return -static_cast<R>(a);
  else
    return subtract(run, R(), static_cast<R>(value(a)));
}

/// What `=` does, for numbers and for things of one type.
template <typename T, typename V>
constexpr std::conditional_t<std::is_class_v<T>, const T&, T> assign(Run& run, T& place, const V& given) {
  if constexpr (std::is_arithmetic_v<T>) {
    place = to<T>(run, given);
  } else {
    static_assert(std::is_same_v<T, V>, "only things of one type are assigned");
    place = given;
  }
  return place;
}

#define KERNELITES_CHANGE(name)                                     \
  template <Number T, Number V>                                     \
  constexpr T name##_to(Run& run, T& place, V given) {              \
    static_assert(std::is_arithmetic_v<T>, "a number is expected"); \
    return assign(run, place, name(run, place, given));             \
  }                                                                 \
  template <Number T, Number V>                                     \
  constexpr T name##_after(Run& run, T& place, V given) {           \
    const T before = place;                                         \
    name##_to(run, place, given);                                   \
    return before;                                                  \
  }
KERNELITES_CHANGE(add)
KERNELITES_CHANGE(subtract)
KERNELITES_CHANGE(multiply)
KERNELITES_CHANGE(divide)
KERNELITES_CHANGE(remainder)
KERNELITES_CHANGE(shift_left)
KERNELITES_CHANGE(shift_right)
KERNELITES_CHANGE(both)
KERNELITES_CHANGE(either)
KERNELITES_CHANGE(differs)
#undef KERNELITES_CHANGE

/// An entry of an array; the first one where there is none.
template <typename T, unsigned long N, Number I>
constexpr T& at(Run& run, T (&array)[N], I index) {
  const auto i = whole(index);
  if (i >= 0 && static_cast<unsigned long long>(i) < N) return array[i];
  fail(run, outside);
  return array[0];
}
/// Not of an array that ends with its expression.
template <typename T, unsigned long N, typename I>
constexpr const T& at(Run&, const T (&&)[N], I) = delete;

/// A text of the plan, which is named and handed on.
struct Text {
  const char* bytes_ = "";

  constexpr Text() = default;
  template <unsigned long N>
  consteval explicit Text(const char (&text)[N]) : bytes_(text) {
    if (text[N - 1] != 0) not_constant();
  }
};
constexpr const char* text(Text text) { return text.bytes_; }

/// T, whose things without a name may stand in a frame.
template <typename T>
struct Sized {
  static_assert(sizeof(T) <= 256, "a struct is too large to stand without a name");
  using type = T;
};
template <typename T>
using Small = typename Sized<T>::type;

/// A constant that stands where a program computes.
template <typename T>
consteval T now(T x) {
  return x;
}

/// A call of a function that has a name in a function.
template <typename Function, typename... Given>
constexpr auto call(Run& run, const Function& function, const Given&... given) {
  using R = decltype(function(given...));
  if constexpr (std::is_class_v<R>) static_assert(sizeof(R) <= 2048, "a result is too large");
  if constexpr (std::is_void_v<R>) {
    if (go(run, true)) function(given...);
  } else {
    return go(run, true) ? function(given...) : R();
  }
}

// The contract's functions (kernelites/plan.cuh).
template <Number A, Number B>
constexpr Common<A, B> cdiv(Run& run, A a, B b) {
  return divide(run, subtract(run, add(run, a, b), 1), b);
}
template <Number A, Number B>
constexpr Common<A, B> round_up(Run& run, A a, B b) {
  return multiply(run, cdiv(run, a, b), b);
}
template <Number A, Number B>
constexpr Common<A, B> min(Run&, A a, B b) {
  return value(b) < value(a) ? value(b) : value(a);
}
template <Number A, Number B>
constexpr Common<A, B> max(Run&, A a, B b) {
  return value(a) < value(b) ? value(b) : value(a);
}
template <Number A>
constexpr A clamp(Run&, A x, A low, A high) {
  return value(x) < value(low) ? low : value(high) < value(x) ? high : x;
}
template <Number A>
constexpr bool is_pow2(Run& run, A a) {
  const auto x = to<long long>(run, a);
  return x > 0 && (x & (x - 1)) == 0;
}
template <Number A>
constexpr int log2(Run& run, A a) {
  int n = 0;
  for (auto x = to<long long>(run, a); x > 1; x >>= 1) ++n;
  return n;
}
template <Number A>
constexpr long long pow2(Run& run, A n) {
  return shift_left(run, 1LL, to<int>(run, n));
}
template <Number A>
constexpr long long next_pow2(Run& run, A a) {
  const auto x = to<long long>(run, a);
  long long n = 1;
  while (n < x && run.trouble == no_trouble) n = multiply(run, n, 2);
  return n;
}
template <Number A>
constexpr double sqrt(Run& run, A a) {
  const auto x = to<double>(run, a);
  if (!(x > 0)) return 0;
  double root = x > 1 ? x : 1;
  for (int i = 0; i < 1100 && go(run, true); ++i) {
    const double next = 0.5 * (root + x / root);
    if (next >= root) break;
    root = next;
  }
  return root;
}
/// What the contract's members compute, noted where it has no value. No element is larger than eight bytes.
template <typename Tensor>
constexpr long long elements(Run& run, const Tensor& tensor) {
  long long n = 1;
  for (int i = 0; i < tensor.rank; ++i) n = multiply(run, n, tensor.shape[i]);
  return n;
}
template <typename Tensor, typename... Extents>
constexpr Tensor view(Run& run, const Tensor& tensor, Extents... extents) {
  const long long shape[] = {extents...};
  long long step = 1;
  for (int i = sizeof...(extents); i > 0; --i) step = multiply(run, step, shape[i - 1]);
  return run.trouble == no_trouble ? tensor.view(extents...) : tensor;
}
template <typename Plan, typename Dtype, typename... Kind>
constexpr auto workspace(Run& run, Plan& plan, Dtype dtype, long long elements, Kind... kind) {
  multiply(run, elements, 8LL);
  return plan.workspace(dtype, run.trouble == no_trouble ? elements : 0, kind...);
}
template <typename Map>
constexpr Map& offset(Run& run, Map& map, long long elements) {
  multiply(run, elements, 8LL);
  return map.offset(run.trouble == no_trouble ? elements : 0);
}
template <typename Plan, typename Tensor, unsigned long N, unsigned long M, typename... Swizzle>
constexpr auto& tensor_map(Run& run, Plan& plan, const Tensor& tensor, const int (&axes)[N],
                           const int (&box)[M], Swizzle... swizzle) {
  for (int i = 0; i < tensor.rank; ++i) multiply(run, tensor.stride[i], 8LL);
  return plan.tensor_map(run.trouble == no_trouble ? tensor : Tensor{}, axes, box, swizzle...);
}
/// kl::Tensor::with_stride, whose axis nobody checks.
template <typename Tensor, Number A, Number S>
constexpr Tensor with_stride(Run& run, const Tensor& tensor, A axis, S elements) {
  Tensor result = tensor;
  at(run, result.stride, axis) = to<long long>(run, elements);
  return result;
}

}  // namespace KERNELITES_LIBRARY::safe
