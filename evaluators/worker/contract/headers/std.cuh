// SPDX-License-Identifier: Apache-2.0
// What kernels expect of the standard headers, which NVRTC does not have: integer types, limits, constants, traits.
//
// Every standard name that a candidate may include (<cstdint>, <math.h>, <type_traits>, ...) leads here, and the
// harness includes it before the candidate, so a forgotten include costs nothing. Types and macros agree with those
// of CCCL (<cuda/std/...>), so both may be included. std::move, std::forward and std::initializer_list are NVRTC's.
#pragma once

using int8_t = signed char;
using int16_t = signed short;
using int32_t = signed int;
using int64_t = signed long long;
using uint8_t = unsigned char;
using uint16_t = unsigned short;
using uint32_t = unsigned int;
using uint64_t = unsigned long long;
using intptr_t = int64_t;
using uintptr_t = uint64_t;
using intmax_t = int64_t;
using uintmax_t = uint64_t;
using uint = unsigned int;
using nullptr_t = decltype(nullptr);

#ifndef CHAR_BIT
#define CHAR_BIT 8
#endif
#ifndef SCHAR_MAX
#define SCHAR_MIN (-128)
#define SCHAR_MAX 127
#define UCHAR_MAX 255
#define SHRT_MIN (-SHRT_MAX - 1)
#define SHRT_MAX 0x7fff
#define USHRT_MAX 0xffff
#define INT_MIN (-INT_MAX - 1)
#define INT_MAX 0x7fffffff
#define UINT_MAX 0xffffffff
#define LONG_MIN (-LONG_MAX - 1)
#define LONG_MAX LLONG_MAX
#define ULONG_MAX ULLONG_MAX
#define LLONG_MIN (-LLONG_MAX - 1)
#define LLONG_MAX 0x7fffffffffffffffLL
#define ULLONG_MAX 0xffffffffffffffffUL
#endif
#ifndef INT8_MIN
#define INT8_MIN SCHAR_MIN
#define INT16_MIN SHRT_MIN
#define INT32_MIN INT_MIN
#define INT64_MIN LLONG_MIN
#define INT8_MAX SCHAR_MAX
#define INT16_MAX SHRT_MAX
#define INT32_MAX INT_MAX
#define INT64_MAX LLONG_MAX
#define UINT8_MAX UCHAR_MAX
#define UINT16_MAX USHRT_MAX
#define UINT32_MAX UINT_MAX
#define UINT64_MAX ULLONG_MAX
#endif
#ifndef SIZE_MAX
#define SIZE_MAX UINT64_MAX
#endif

#ifndef FLT_MAX
#define FLT_MAX 3.402823466e+38F
#define FLT_MIN 1.175494351e-38F
#define FLT_EPSILON 1.192092896e-07F
#define FLT_DIG 6
#define FLT_MANT_DIG 24
#define DBL_MAX 1.7976931348623158e+308
#define DBL_MIN 2.2250738585072014e-308
#define DBL_EPSILON 2.2204460492503131e-16
#define DBL_DIG 15
#define DBL_MANT_DIG 53
#endif
#ifndef INFINITY
#define INFINITY __builtin_bit_cast(float, 0x7f800000)
#endif
#ifndef HUGE_VALF
#define HUGE_VALF INFINITY
#endif
#ifndef HUGE_VAL
#define HUGE_VAL __builtin_bit_cast(double, 0x7ff0000000000000LL)
#endif
#ifndef NAN
#define NAN __builtin_bit_cast(float, 0x7fffffff)
#endif
#ifndef M_PI
#define M_E 2.7182818284590452354
#define M_LOG2E 1.4426950408889634074
#define M_LOG10E 0.43429448190325182765
#define M_LN2 0.69314718055994530942
#define M_LN10 2.30258509299404568402
#define M_PI 3.14159265358979323846
#define M_PI_2 1.57079632679489661923
#define M_PI_4 0.78539816339744830962
#define M_1_PI 0.31830988618379067154
#define M_2_PI 0.63661977236758134308
#define M_2_SQRTPI 1.12837916709551257390
#define M_SQRT2 1.41421356237309504880
#define M_SQRT1_2 0.70710678118654752440
#endif

// An assertion would call out of the module, which the screen refuses, and serialises wgmma: it is dropped.
#undef assert
#define assert(condition) ((void)0)

namespace std {

using ::int16_t;
using ::int32_t;
using ::int64_t;
using ::int8_t;
using ::intptr_t;
using ::nullptr_t;
using ::uint16_t;
using ::uint32_t;
using ::uint64_t;
using ::uint8_t;
using ::uintptr_t;
using size_t = decltype(sizeof(0));
using ptrdiff_t = decltype((char*)nullptr - (char*)nullptr);
enum class byte : unsigned char {};

template <typename T, T v>
struct integral_constant {
  using value_type = T;
  using type = integral_constant;
  static constexpr T value = v;
  constexpr operator T() const { return v; }
  constexpr T operator()() const { return v; }
};
template <bool v>
using bool_constant = integral_constant<bool, v>;
using true_type = bool_constant<true>;
using false_type = bool_constant<false>;

template <bool, typename T = void>
struct enable_if {};
template <typename T>
struct enable_if<true, T> {
  using type = T;
};
template <bool b, typename T = void>
using enable_if_t = typename enable_if<b, T>::type;
template <bool, typename T, typename F>
struct conditional {
  using type = T;
};
template <typename T, typename F>
struct conditional<false, T, F> {
  using type = F;
};
template <bool b, typename T, typename F>
using conditional_t = typename conditional<b, T, F>::type;
template <typename...>
using void_t = void;
template <typename T>
struct type_identity {
  using type = T;
};
template <typename T>
using type_identity_t = T;

template <typename T>
struct remove_reference : type_identity<T> {};
template <typename T>
struct remove_reference<T&> : type_identity<T> {};
template <typename T>
struct remove_reference<T&&> : type_identity<T> {};
template <typename T>
using remove_reference_t = typename remove_reference<T>::type;
template <typename T>
struct remove_const : type_identity<T> {};
template <typename T>
struct remove_const<const T> : type_identity<T> {};
template <typename T>
using remove_const_t = typename remove_const<T>::type;
template <typename T>
struct remove_volatile : type_identity<T> {};
template <typename T>
struct remove_volatile<volatile T> : type_identity<T> {};
template <typename T>
using remove_volatile_t = typename remove_volatile<T>::type;
template <typename T>
using remove_cv_t = remove_const_t<remove_volatile_t<T>>;
template <typename T>
struct remove_cv : type_identity<remove_cv_t<T>> {};
template <typename T>
using remove_cvref_t = remove_cv_t<remove_reference_t<T>>;
template <typename T>
struct remove_cvref : type_identity<remove_cvref_t<T>> {};
template <typename T>
struct remove_pointer : type_identity<T> {};
template <typename T>
struct remove_pointer<T*> : type_identity<T> {};
template <typename T>
using remove_pointer_t = typename remove_pointer<T>::type;
template <typename T>
struct remove_extent : type_identity<T> {};
template <typename T, size_t n>
struct remove_extent<T[n]> : type_identity<T> {};
template <typename T>
using remove_extent_t = typename remove_extent<T>::type;
template <typename T>
using decay_t = remove_cvref_t<T>;  // NOTE: arrays and functions do not decay here
template <typename T>
struct decay : type_identity<decay_t<T>> {};

template <typename A, typename B>
inline constexpr bool is_same_v = false;
template <typename A>
inline constexpr bool is_same_v<A, A> = true;
template <typename A, typename B>
struct is_same : bool_constant<is_same_v<A, B>> {};
namespace detail {
template <typename T>
struct Whole {
  enum : bool { value = false };
};
#define KERNELITES_WHOLE(T) \
  template <>               \
  struct Whole<T> {         \
    enum : bool { value = true }; \
  };
KERNELITES_WHOLE(bool)
KERNELITES_WHOLE(char)
KERNELITES_WHOLE(signed char)
KERNELITES_WHOLE(unsigned char)
KERNELITES_WHOLE(short)
KERNELITES_WHOLE(unsigned short)
KERNELITES_WHOLE(int)
KERNELITES_WHOLE(unsigned)
KERNELITES_WHOLE(long)
KERNELITES_WHOLE(unsigned long)
KERNELITES_WHOLE(long long)
KERNELITES_WHOLE(unsigned long long)
#undef KERNELITES_WHOLE
}  // namespace detail
template <typename T>
inline constexpr bool is_integral_v = detail::Whole<remove_cv_t<T>>::value;
template <typename T>
struct is_integral : bool_constant<is_integral_v<T>> {};
template <typename T>
inline constexpr bool is_floating_point_v = is_same_v<remove_cv_t<T>, float> || is_same_v<remove_cv_t<T>, double>;
template <typename T>
struct is_floating_point : bool_constant<is_floating_point_v<T>> {};
template <typename T>
inline constexpr bool is_arithmetic_v = is_integral_v<T> || is_floating_point_v<T>;
template <typename T>
struct is_arithmetic : bool_constant<is_arithmetic_v<T>> {};
template <typename T>
inline constexpr bool is_pointer_v = false;
template <typename T>
inline constexpr bool is_pointer_v<T*> = true;
template <typename T>
struct is_pointer : bool_constant<is_pointer_v<remove_cv_t<T>>> {};
template <typename T>
inline constexpr bool is_const_v = false;
template <typename T>
inline constexpr bool is_const_v<const T> = true;
template <typename T>
struct is_const : bool_constant<is_const_v<T>> {};
template <typename T>
inline constexpr bool is_void_v = is_same_v<remove_cv_t<T>, void>;
template <typename T>
inline constexpr bool is_enum_v = __is_enum(T);
template <typename T>
inline constexpr bool is_signed_v = [] {
  if constexpr (is_arithmetic_v<T>) {
    return T(-1) < T(0);
  } else {
    return false;
  }
}();
template <typename T>
inline constexpr bool is_unsigned_v = is_integral_v<T> && !is_signed_v<T>;
template <typename T>
inline constexpr bool is_trivially_copyable_v = __is_trivially_copyable(T);
template <typename T>
T&& declval() noexcept;

template <typename T, T... values>
struct integer_sequence {
  using value_type = T;
  static constexpr size_t size() { return sizeof...(values); }
};
template <size_t... values>
using index_sequence = integer_sequence<size_t, values...>;
namespace detail {
template <typename T, size_t n, T... values>
struct MakeSequence : MakeSequence<T, n - 1, T(n - 1), values...> {};
template <typename T, T... values>
struct MakeSequence<T, 0, values...> {
  using type = integer_sequence<T, values...>;
};
}  // namespace detail
template <typename T, T n>
using make_integer_sequence = typename detail::MakeSequence<T, size_t(n)>::type;
template <size_t n>
using make_index_sequence = make_integer_sequence<size_t, n>;

template <typename T>
constexpr const T& min(const T& a, const T& b) {
  return b < a ? b : a;
}
template <typename T>
constexpr const T& max(const T& a, const T& b) {
  return a < b ? b : a;
}
template <typename T>
constexpr const T& clamp(const T& value, const T& low, const T& high) {
  return value < low ? low : high < value ? high : value;
}
template <typename T>
constexpr void swap(T& a, T& b) {
  T kept = a;
  a = b;
  b = kept;
}
template <typename T, typename U = T>
constexpr T exchange(T& object, U&& value) {
  T old = object;
  object = value;
  return old;
}
template <typename To, typename From>
constexpr To bit_cast(const From& from) {
  return __builtin_bit_cast(To, from);
}

template <typename A, typename B>
struct pair {
  A first;
  B second;
};
template <typename A, typename B>
pair(A, B) -> pair<A, B>;
template <typename A, typename B>
constexpr pair<A, B> make_pair(A a, B b) {
  return {a, b};
}

template <typename T, size_t n>
struct array {
  using value_type = T;
  T elements[n ? n : 1];
  constexpr T& operator[](size_t i) { return elements[i]; }
  constexpr const T& operator[](size_t i) const { return elements[i]; }
  constexpr T* data() { return elements; }
  constexpr const T* data() const { return elements; }
  constexpr T* begin() { return elements; }
  constexpr T* end() { return elements + n; }
  constexpr const T* begin() const { return elements; }
  constexpr const T* end() const { return elements + n; }
  static constexpr size_t size() { return n; }
  constexpr void fill(const T& value) {
    for (size_t i = 0; i < n; ++i) elements[i] = value;
  }
};

// Enumerators, because NVRTC writes every `static constexpr` member into the module.
namespace detail {
template <bool is_integer_, bool is_signed_, int digits_>
struct Limits {
  enum : bool { is_specialized = true, is_signed = is_signed_, is_integer = is_integer_, has_infinity = !is_integer_ };
  enum : int { digits = digits_ };
};
}  // namespace detail
template <typename T>
struct numeric_limits;
template <>
struct numeric_limits<float> : detail::Limits<false, true, FLT_MANT_DIG> {
  static constexpr float max() { return FLT_MAX; }
  static constexpr float min() { return FLT_MIN; }
  static constexpr float lowest() { return -FLT_MAX; }
  static constexpr float epsilon() { return FLT_EPSILON; }
  static constexpr float infinity() { return INFINITY; }
  static constexpr float quiet_NaN() { return NAN; }
};
template <>
struct numeric_limits<double> : detail::Limits<false, true, DBL_MANT_DIG> {
  static constexpr double max() { return DBL_MAX; }
  static constexpr double min() { return DBL_MIN; }
  static constexpr double lowest() { return -DBL_MAX; }
  static constexpr double epsilon() { return DBL_EPSILON; }
  static constexpr double infinity() { return HUGE_VAL; }
  static constexpr double quiet_NaN() { return __builtin_bit_cast(double, 0x7fffffffffffffffLL); }
};
#define KERNELITES_LIMITS(T, low, high)                                                            \
  template <>                                                                                      \
  struct numeric_limits<T> : detail::Limits<true, (low) != 0, 8 * sizeof(T) - ((low) != 0)> { \
    static constexpr T max() { return high; }                                                      \
    static constexpr T min() { return low; }                                                       \
    static constexpr T lowest() { return low; }                                                    \
  };
KERNELITES_LIMITS(signed char, SCHAR_MIN, SCHAR_MAX)
KERNELITES_LIMITS(unsigned char, 0, UCHAR_MAX)
KERNELITES_LIMITS(short, SHRT_MIN, SHRT_MAX)
KERNELITES_LIMITS(unsigned short, 0, USHRT_MAX)
KERNELITES_LIMITS(int, INT_MIN, INT_MAX)
KERNELITES_LIMITS(unsigned, 0, UINT_MAX)
KERNELITES_LIMITS(long, LONG_MIN, LONG_MAX)
KERNELITES_LIMITS(unsigned long, 0, ULONG_MAX)
KERNELITES_LIMITS(long long, LLONG_MIN, LLONG_MAX)
KERNELITES_LIMITS(unsigned long long, 0, ULLONG_MAX)
#undef KERNELITES_LIMITS

#define KERNELITES_MATH_1(name, callee) \
  inline __device__ float name(float x) { return ::callee##f(x); } \
  inline __device__ double name(double x) { return ::callee(x); }
#define KERNELITES_MATH_2(name, callee) \
  inline __device__ float name(float x, float y) { return ::callee##f(x, y); } \
  inline __device__ double name(double x, double y) { return ::callee(x, y); }
KERNELITES_MATH_1(sqrt, sqrt)
KERNELITES_MATH_1(exp, exp)
KERNELITES_MATH_1(exp2, exp2)
KERNELITES_MATH_1(expm1, expm1)
KERNELITES_MATH_1(log, log)
KERNELITES_MATH_1(log2, log2)
KERNELITES_MATH_1(log10, log10)
KERNELITES_MATH_1(log1p, log1p)
KERNELITES_MATH_1(sin, sin)
KERNELITES_MATH_1(cos, cos)
KERNELITES_MATH_1(tanh, tanh)
KERNELITES_MATH_1(erf, erf)
KERNELITES_MATH_1(floor, floor)
KERNELITES_MATH_1(ceil, ceil)
KERNELITES_MATH_1(round, round)
KERNELITES_MATH_1(trunc, trunc)
KERNELITES_MATH_1(fabs, fabs)
KERNELITES_MATH_1(abs, fabs)
KERNELITES_MATH_2(pow, pow)
KERNELITES_MATH_2(fmod, fmod)
KERNELITES_MATH_2(fmax, fmax)
KERNELITES_MATH_2(fmin, fmin)
#undef KERNELITES_MATH_1
#undef KERNELITES_MATH_2
constexpr int abs(int x) { return x < 0 ? -x : x; }
constexpr long long abs(long long x) { return x < 0 ? -x : x; }
inline __device__ float fma(float x, float y, float z) { return ::fmaf(x, y, z); }
inline __device__ double fma(double x, double y, double z) { return ::fma(x, y, z); }
using ::isfinite;
using ::isinf;
using ::isnan;
using ::memcpy;
using ::memset;

}  // namespace std

using std::byte;
using std::ptrdiff_t;
