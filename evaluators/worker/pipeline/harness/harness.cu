// SPDX-License-Identifier: Apache-2.0
// The harness's own kernels, run by referee and executor on either device.
//
//   harness_fill      inputs from a counter-based generator: value i depends on (seed, i) alone
//   harness_invalid   NaN beyond each sequence's valid prefix: what a candidate must not read into its result
//   harness_poison    outputs and workspaces before every launch, so that nothing left over can pass
//   harness_clear     zeroed workspaces, inside the timed region
//   harness_flush     evicts the L2 by reading a buffer larger than it
//   harness_compare   one block per row: a candidate's output row against the float64 reference row
//
// Names start with `harness_` and are refused in candidates, so that no launch can be mistaken for one of these.
// No headers: this file compiles with any toolkit in a few milliseconds.

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

__device__ __forceinline__ float normal(u64 bits) {  // Box-Muller; u1 in (0, 1]
  const float u1 = 1.0f - unit((u32)bits), u2 = unit((u32)(bits >> 32));
  return sqrtf(-2.0f * __logf(u1)) * __cosf(6.2831853f * u2);
}

__device__ __forceinline__ void store(void* base, int dtype, i64 index, float value) {
  switch (dtype) {
    case f32: ((float*)base)[index] = value; break;
    case f64: ((double*)base)[index] = value; break;
    case bf16: {
      const u32 bits = __float_as_uint(value);  // round to nearest even; fills are finite
      ((unsigned short*)base)[index] = (unsigned short)((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
      break;
    }
    case f16: {
      unsigned short half;
      asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
      ((unsigned short*)base)[index] = half;
      break;
    }
    case e4m3:
    case e5m2: {
      unsigned short pair;
      if (dtype == e4m3) asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(value));
      else asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(value));
      ((unsigned char*)base)[index] = (unsigned char)pair;
      break;
    }
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
    case f16: {
      float value;
      asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(((const unsigned short*)base)[index]));
      return value;
    }
    case e4m3:
    case e5m2: {
      const unsigned short pair = ((const unsigned char*)base)[index];
      u32 halves;
      if (dtype == e4m3) asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"(pair));
      else asm("cvt.rn.f16x2.e5m2x2 %0, %1;" : "=r"(halves) : "h"(pair));
      float value;
      asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"((unsigned short)halves));
      return value;
    }
    case i8: return ((const signed char*)base)[index];
    case u8: return ((const unsigned char*)base)[index];
    case i32: return ((const int*)base)[index];
    default: return (double)((const i64*)base)[index];
  }
}

// A fixed pattern of signs over the last axis: fills that shift or trend correlate through it.
__device__ __forceinline__ float sign_of(i64 column) { return (mix((u64)column) & 1) ? 1.0f : -1.0f; }

// Kinds of engine/core/fill_kind.cpp, in its order.
enum FillKind : int { k_normal, k_uniform, k_constant, k_shifted, k_rising, k_one_hot, k_heavy_tail, k_signs, k_spike };

// `tokens`: extent of axis 1; `inner`: elements per step of axis 1; `columns`: extent of the last axis.
// p0, p1: the kind's parameters, in the table's order.
extern "C" __global__ void __launch_bounds__(256)
harness_fill(void* out, i64 count, int dtype, int kind, u64 seed, float p0, float p1, i64 tokens, i64 inner, i64 columns) {
  const i64 stride = (i64)gridDim.x * blockDim.x;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
    const u64 bits = mix(seed ^ mix((u64)i));
    // Divisions only where a kind needs them: gigabytes are filled in every round of a duel.
    const auto column = [&] { return i % columns; };
    const auto token = [&] { return (i / inner) % tokens; };
    float value;
    switch (kind) {
      case k_normal: value = p0 + p1 * normal(bits); break;
      case k_uniform: value = p0 + (p1 - p0) * unit((u32)bits); break;
      case k_constant: value = p0; break;
      case k_shifted: value = p0 * sign_of(column()) + p1 * normal(bits); break;
      case k_rising: value = p0 * sign_of(column()) * ((float)(token() + 1) / (float)tokens) + p1 * normal(bits); break;
      case k_one_hot: {  // about p1 tokens of a sequence carry p0, in one column that their hash chooses
        const u64 draw = mix(seed ^ mix((u64)(i / columns) * 2654435761ull + 1));
        value = unit((u32)draw) * (float)tokens < p1 && (i64)((draw >> 32) % (u64)columns) == column() ? p0 : 0.0f;
        break;
      }
      case k_heavy_tail: {  // one column in 64 is an outlier channel
        value = p1 * normal(bits) * ((mix(seed ^ (u64)column()) & 63) == 0 ? p0 : 1.0f);
        break;
      }
      case k_spike: {  // one token of each sequence stands out along the pattern of signs
        const i64 chosen = (i64)(mix(seed ^ mix((u64)(i / (inner * tokens)) + 7)) % (u64)tokens);
        value = (token() == chosen ? p0 * sign_of(column()) : 0.0f) + p1 * normal(bits);
        break;
      }
      default: value = p0 * sign_of(column()); break;
    }
    store(out, dtype, i, value);
  }
}

// Element i belongs to sequence i / (inner * tokens) and token (i / inner) % tokens. Floating-point formats only.
extern "C" __global__ void __launch_bounds__(256)
harness_invalid(void* out, i64 count, int dtype, const int* lengths, i64 tokens, i64 inner) {
  const i64 stride = (i64)gridDim.x * blockDim.x;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
    if ((i / inner) % tokens < lengths[i / (inner * tokens)]) continue;
    switch (dtype) {
      case bf16:
      case f16: ((unsigned short*)out)[i] = 0x7FFF; break;
      case f32: ((u32*)out)[i] = 0x7FFFFFFFu; break;
      case f64: ((u64*)out)[i] = 0x7FFFFFFFFFFFFFFFull; break;
      default: ((unsigned char*)out)[i] = 0x7F; break;
    }
  }
}

// Writes a word, or at the end of a buffer as many of its bytes as there are.
__device__ __forceinline__ void store_word(unsigned char* out, i64 bytes, i64 word, u32 value) {
  if (word * 4 + 4 <= bytes) {
    ((u32*)out)[word] = value;
  } else {
    for (i64 i = word * 4; i < bytes; ++i) out[i] = (unsigned char)(value >> (8 * (i % 4)));
  }
}

// Poison in rotation: NaN in every 16- and 32-bit format, large finite values, small plausible ones.
extern "C" __global__ void __launch_bounds__(256) harness_poison(unsigned char* out, i64 bytes, u64 seed, int kind) {
  const i64 stride = (i64)gridDim.x * blockDim.x, words = (bytes + 3) / 4;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < words; i += stride) {
    const u32 bits = (u32)mix(seed + (u64)i);
    u32 value;
    if (kind == 0) value = 0xFFC07FC1u | (bits & 0x80008000u);
    else if (kind == 1) value = 0x46EA46EAu ^ (bits & 0x803F803Fu);
    else value = 0x3C003C00u ^ (bits & 0x81FF81FFu);
    store_word(out, bytes, i, value);
  }
}

extern "C" __global__ void __launch_bounds__(256) harness_clear(unsigned char* out, i64 bytes) {
  const i64 stride = (i64)gridDim.x * blockDim.x, words = (bytes + 3) / 4;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < words; i += stride) store_word(out, bytes, i, 0);
}

// Reads every 16 bytes of a buffer twice the size of the L2: what the launches before left in it is evicted, and dirty
// lines are written back before the launch under test.
extern "C" __global__ void __launch_bounds__(512) harness_flush(uint4* buffer, i64 vectors, u32 salt) {
  const i64 stride = (i64)gridDim.x * blockDim.x;
  u32 sum = 0;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < vectors; i += stride) {
    const uint4 v = buffer[i];
    sum += v.x ^ v.y ^ v.z ^ v.w;
  }
  if (sum == salt) buffer[0].x = sum + 1;  // never optimised away, practically never taken
}

struct RowResult {
  double row;        // rms(e) / rms(g); infinite if g is all zero and e is not
  double element;    // worst |e| / (absolute + ulp |g| + rms_factor rms(g)); above 1 fails
  double mismatch;   // elements that are not finite where g is, or differ where g is not
};

__device__ double block_sum(double value, double* scratch) {
  scratch[threadIdx.x] = value;
  __syncthreads();
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) scratch[threadIdx.x] += scratch[threadIdx.x + half];
    __syncthreads();
  }
  const double total = scratch[0];
  __syncthreads();  // the scratch is reused by the next reduction
  return total;
}

__device__ double block_max(double value, double* scratch) {
  scratch[threadIdx.x] = value;
  __syncthreads();
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) scratch[threadIdx.x] = fmax(scratch[threadIdx.x], scratch[threadIdx.x + half]);
    __syncthreads();
  }
  const double total = scratch[0];
  __syncthreads();
  return total;
}

// Row r of `gold` [rows, columns] against row rows[r] of `output` [.., columns].
extern "C" __global__ void __launch_bounds__(128)
harness_compare(const void* output, int dtype, const double* gold, const i64* rows, i64 columns, double ulp,
                double rms_factor, double absolute, RowResult* results) {
  __shared__ double scratch[128];
  const double* g_row = gold + (i64)blockIdx.x * columns;
  const i64 base = rows[blockIdx.x] * columns;
  double e2 = 0, g2 = 0, mismatch = 0;
  for (i64 c = threadIdx.x; c < columns; c += blockDim.x) {
    const double g = g_row[c], o = load(output, dtype, base + c);
    if (!isfinite(g) || !isfinite(o)) {
      mismatch += (o == g || (isnan(g) && isnan(o))) ? 0.0 : 1.0;
    } else {
      e2 += (o - g) * (o - g);
      g2 += g * g;
    }
  }
  e2 = block_sum(e2, scratch);
  g2 = block_sum(g2, scratch);
  mismatch = block_sum(mismatch, scratch);
  const double rms = sqrt(g2 / (double)columns);
  double worst = 0;
  for (i64 c = threadIdx.x; c < columns; c += blockDim.x) {
    const double g = g_row[c], o = load(output, dtype, base + c);
    if (!isfinite(g) || !isfinite(o)) continue;
    const double e = fabs(o - g), allowed = absolute + ulp * fabs(g) + rms_factor * rms;
    if (e > 0) worst = fmax(worst, allowed > 0 ? e / allowed : 1e30);
  }
  worst = block_max(worst, scratch);
  if (threadIdx.x == 0) {
    RowResult& result = results[blockIdx.x];
    result.row = g2 > 0 ? sqrt(e2 / g2) : (e2 > 0 ? 1e30 : 0.0);
    result.element = worst;
    result.mismatch = mismatch;
  }
}
