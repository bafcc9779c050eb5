// SPDX-License-Identifier: Apache-2.0
// Neighbourhood attention over images, one warp per query: q, k, v, o [B, X, Y, H, D] (bf16), with lse [B, X, Y, H].
//
// Technique: the warp walks the wx * wy keys of its window with a running maximum (online softmax); a lane holds D / 32
// channels. The starting point of the ladder.

// tune: WARPS = 4 | 1 | 8

#include <cuda_bf16.h>

/// A lane's channels, in one load.
template <int PER_LANE>
struct alignas(PER_LANE * 2) Channels {
  __nv_bfloat16 c[PER_LANE];
};

template <int PER_LANE>
__device__ void load_lane(float (&to)[PER_LANE], const __nv_bfloat16* row, int lane) {
  const Channels<PER_LANE> from = reinterpret_cast<const Channels<PER_LANE>*>(row)[lane];
  for (int c = 0; c < PER_LANE; ++c) to[c] = __bfloat162float(from.c[c]);
}

/// Where the window of place i begins: centred at the leader of i's group, moved inside.
__device__ int window_start(int i, int L, int w, int s) {
  const int leader = min(i / s * s + s / 2, L - 1);
  return min(max(leader - w / 2, 0), L - w);
}

template <int D>
__global__ void __launch_bounds__(WARPS * 32)
gna_naive(const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k, const __nv_bfloat16* __restrict__ v,
          __nv_bfloat16* __restrict__ o, float* __restrict__ lse, long long rows, int X, int Y, int H, int wx, int wy,
          int sx, int sy, float scale) {
  constexpr int PER_LANE = D / 32;
  const int lane = threadIdx.x % 32;
  const long long row = (long long)blockIdx.x * WARPS + threadIdx.x / 32;
  if (row >= rows) return;
  const int h = (int)(row % H), y = (int)(row / H % Y), x = (int)(row / H / Y % X);
  const int first_x = window_start(x, X, wx, sx), first_y = window_start(y, Y, wy, sy);
  const long long b = row / H / Y / X;

  float q_lane[PER_LANE], k_lane[PER_LANE], v_lane[PER_LANE], o_lane[PER_LANE] = {};
  load_lane(q_lane, q + row * D, lane);
  float max = -INFINITY, sum = 0;
  int kx = first_x, ky = first_y - 1;
  for (int n = 0; n < wx * wy; ++n) {
    if (++ky == first_y + wy) ky = first_y, ++kx;
    const long long key = (((b * X + kx) * Y + ky) * H + h) * D;
    load_lane(k_lane, k + key, lane);
    load_lane(v_lane, v + key, lane);
    float s = 0;
    for (int c = 0; c < PER_LANE; ++c) s += q_lane[c] * k_lane[c];
    for (int step = 16; step > 0; step /= 2) s += __shfl_xor_sync(0xffffffffu, s, step);
    s *= scale;
    const float next = fmaxf(max, s), shrink = __expf(max - next), p = __expf(s - next);
    max = next;
    sum = sum * shrink + p;
    for (int c = 0; c < PER_LANE; ++c) o_lane[c] = o_lane[c] * shrink + p * v_lane[c];
  }
  for (int c = 0; c < PER_LANE; ++c) {
    o[row * D + lane * PER_LANE + c] = __float2bfloat16(o_lane[c] / sum);
  }
  if (lane == 0) lse[row] = max + logf(sum);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == 32 || p.D == 64 || p.D == 128, "D must be 32, 64 or 128")) return;
  const long long rows = (long long)p.B * p.X * p.Y * p.H;
  plan.launch(p.D == 32 ? "gna_naive<32>" : p.D == 64 ? "gna_naive<64>" : "gna_naive<128>")
      .grid(kl::cdiv(rows, WARPS)).block(WARPS * 32)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.o).arg(p.lse).arg(rows).arg(p.X).arg(p.Y).arg(p.H).arg(p.wx).arg(p.wy)
      .arg(p.sx).arg(p.sy).arg(p.scale);
}
