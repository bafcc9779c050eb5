// SPDX-License-Identifier: Apache-2.0
// What the harness's kernels share: integer words, the counter-based generator, reading and writing of elements.
//
// The harness is one module: its files are joined in the order of harness_launch.cpp. Kernel names start with
// `harness_` and are refused in candidates, so that no launch can be mistaken for one of these. No headers: the module
// compiles with any toolkit in a few milliseconds. harness_host.cpp compiles this file, fill.cu and compare.cu for the
// host too, one thread a block: what they use of a device must stand in device_only.cu and have its twin there.

using u32 = unsigned int;
using u64 = unsigned long long;
using i64 = long long;

// Values of kernelites::Dtype, in its order.
enum Dtype : int { f16, bf16, f32, f64, e4m3, e5m2, i8, u8, i32, i64_ };

__device__ __forceinline__ u64 mix(u64 x) {  // splitmix64's finaliser (Steele et al. 2014)
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

__device__ __forceinline__ float unit(u32 bits) { return (float)(bits >> 8) * 0x1p-24f; }  // [0, 1)

// Elementary functions of IEEE operations alone, none of which a compiler may contract: every device, the virtual one
// too, draws the same bits. Errors are a few units in the last place.

__device__ __forceinline__ float natural_log(float x) {  // x > 0, normal
  const u32 bits = __float_as_uint(x);
  // m in [0.703, 1.406): the series of atanh converges fast around 1.
  const int exponent = ((int)bits - 0x3F340000) >> 23;
  const float m = __uint_as_float(bits - ((u32)exponent << 23));
  const float t = __fdiv_rn(__fadd_rn(m, -1.0f), __fadd_rn(m, 1.0f)), t2 = __fmul_rn(t, t);
  float series = __fmaf_rn(t2, 0.1111111f, 0.14285715f);
  series = __fmaf_rn(t2, series, 0.2f);
  series = __fmaf_rn(t2, series, 0.33333334f);
  series = __fmul_rn(__fmul_rn(t2, series), t);
  return __fmaf_rn((float)exponent, 0.69314718f, __fmul_rn(2.0f, __fadd_rn(t, series)));
}

__device__ __forceinline__ float power_of_2(float x) {  // clamped to the finite range
  x = fminf(fmaxf(x, -126.0f), 127.0f);
  const float whole = rintf(x), f = __fadd_rn(x, -whole);
  float series = __fmaf_rn(f, 0.00015403530f, 0.0013333558f);
  series = __fmaf_rn(f, series, 0.0096181291f);
  series = __fmaf_rn(f, series, 0.055504109f);
  series = __fmaf_rn(f, series, 0.24022651f);
  series = __fmaf_rn(f, series, 0.69314718f);
  series = __fmaf_rn(f, series, 1.0f);
  return __fmul_rn(series, __uint_as_float((u32)((int)whole + 127) << 23));
}

__device__ __forceinline__ float exponential(float x) { return power_of_2(__fmul_rn(x, 1.44269504f)); }

__device__ __forceinline__ float cosine_of_turns(float turns) {  // cos(2 pi turns), turns in [0, 1)
  const float folded = fabsf(__fadd_rn(turns, -0.5f));            // cos(2 pi turns) = -cos(2 pi folded), folded <= 1/2
  const float x = __fmul_rn(__fadd_rn(folded, -0.25f), 6.2831853f), x2 = __fmul_rn(x, x);  // -cos = sin(x)
  float series = __fmaf_rn(x2, 2.7557319e-6f, -1.9841270e-4f);
  series = __fmaf_rn(x2, series, 8.3333333e-3f);
  series = __fmaf_rn(x2, series, -0.16666667f);
  return __fmaf_rn(__fmul_rn(x2, series), x, x);
}

__device__ __forceinline__ float normal(u64 bits) {  // Box-Muller; the argument of the logarithm is in (0, 1]
  const float u1 = __fadd_rn(1.0f, -unit((u32)bits)), u2 = unit((u32)(bits >> 32));
  return __fmul_rn(__fsqrt_rn(__fmul_rn(-2.0f, natural_log(u1))), cosine_of_turns(u2));
}

__device__ __forceinline__ void store(void* base, int dtype, i64 index, float value) {
  switch (dtype) {
    case f32: ((float*)base)[index] = value; break;
    case f64: ((double*)base)[index] = value; break;
    case bf16: {
      const u32 bits = __float_as_uint(value);  // round to nearest even; fills hold no NaN
      ((unsigned short*)base)[index] = (unsigned short)((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
      break;
    }
    case f16: ((unsigned short*)base)[index] = to_f16(value); break;
    case e4m3: ((unsigned char*)base)[index] = to_e4m3(value); break;
    case e5m2: ((unsigned char*)base)[index] = to_e5m2(value); break;
    case i8: ((signed char*)base)[index] = (signed char)__float2int_rn(value); break;
    case u8: ((unsigned char*)base)[index] = (unsigned char)__float2int_rn(value); break;
    case i32: ((int*)base)[index] = __float2int_rn(value); break;
    default: ((i64*)base)[index] = (i64)value; break;
  }
}

__device__ __forceinline__ double load(const void* base, int dtype, i64 index) {
  switch (dtype) {
    case f32: return ((const float*)base)[index];
    case f64: return ((const double*)base)[index];
    case bf16: return __uint_as_float((u32)((const unsigned short*)base)[index] << 16);
    case f16: return of_f16(((const unsigned short*)base)[index]);
    case e4m3: return of_e4m3(((const unsigned char*)base)[index]);
    case e5m2: return of_e5m2(((const unsigned char*)base)[index]);
    case i8: return ((const signed char*)base)[index];
    case u8: return ((const unsigned char*)base)[index];
    case i32: return ((const int*)base)[index];
    default: return (double)((const i64*)base)[index];
  }
}
