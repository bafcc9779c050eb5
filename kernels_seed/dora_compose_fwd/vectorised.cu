// SPDX-License-Identifier: Apache-2.0
// DoRA composition with 16-byte loads: y = (g - 1) base + g (scale lora), bf16 [M, N], g f32 [N].
//
// Technique: a thread takes eight neighbouring channels of one row, blocks follow one another along the rows as the tensors
// lie in memory. Widths that are not a multiple of eight take the scalar kernel.
//
// Ladder:
//   naive.cu        a thread per element, two bytes a load
//   this file       16-byte loads; one row a thread instead of four, with magnitudes from the L2 again, and loads without
//                   __ldcs: each 1.02x on an H100 at the large shapes, together 1.03x

// tune: THREADS = 512 | 256 | 128

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int CHANNELS = 8;  // of one 16-byte vector

__device__ __forceinline__ unsigned composed(unsigned base, unsigned lora, float low, float high, float scale) {
  const float first = (low - 1) * ptx::low_bf16(base) + low * (scale * ptx::low_bf16(lora));
  const float second = (high - 1) * ptx::high_bf16(base) + high * (scale * ptx::high_bf16(lora));
  return ptx::pack_bf16(first, second);
}

/// A row has BLOCKS blocks.
extern "C" __global__ void __launch_bounds__(THREADS)
dora_vectors(const uint4* __restrict__ base, const uint4* __restrict__ lora, const float4* __restrict__ g,
             uint4* __restrict__ y, int vectors, unsigned blocks, float scale) {
  const int n = blockIdx.x % blocks * THREADS + threadIdx.x;
  if (n >= vectors) return;
  const long long at = (long long)(blockIdx.x / blocks) * vectors + n;
  const uint4 from_base = base[at], from_lora = lora[at];
  const float4 low = g[n * 2], high = g[n * 2 + 1];
  y[at] = make_uint4(composed(from_base.x, from_lora.x, low.x, low.y, scale), composed(from_base.y, from_lora.y, low.z, low.w, scale),
                     composed(from_base.z, from_lora.z, high.x, high.y, scale),
                     composed(from_base.w, from_lora.w, high.z, high.w, scale));
}

extern "C" __global__ void __launch_bounds__(THREADS)
dora_scalars(const unsigned short* __restrict__ base, const unsigned short* __restrict__ lora,
             const float* __restrict__ g, unsigned short* __restrict__ y, int N, float scale) {
  const long long row = (long long)blockIdx.y * N;
  const int n = blockIdx.x * THREADS + threadIdx.x;
  if (n < N) y[row + n] = (unsigned short)composed(base[row + n], lora[row + n], g[n], 0, scale);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (p.N % CHANNELS == 0) {
    const int vectors = p.N / CHANNELS, blocks = kl::cdiv(vectors, THREADS);
    if (!plan.require((long long)p.M * blocks < kl::pow2(31), "more than 2^31 blocks")) return;
    plan.launch("dora_vectors").grid(p.M * blocks).block(THREADS)
        .arg(p.base).arg(p.lora).arg(p.g).arg(p.y).arg(vectors).arg(unsigned(blocks)).arg(p.scale);
  } else {
    if (!plan.require(p.M <= 65535, "odd widths take at most 65535 rows")) return;
    plan.launch("dora_scalars").grid(kl::cdiv(p.N, THREADS), p.M).block(THREADS)
        .arg(p.base).arg(p.lora).arg(p.g).arg(p.y).arg(p.N).arg(p.scale);
  }
}
