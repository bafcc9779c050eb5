// SPDX-License-Identifier: Apache-2.0
// Inputs from a counter-based generator: value i depends on (seed, i) alone.
//
//   harness_fill      one fill kind over a tensor
//   harness_invalid   NaN beyond each sequence's valid prefix: what a candidate must not read into its result

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
