// SPDX-License-Identifier: Apache-2.0
// Reference of gna_2d_fwd in float64, for the (b, x, y, h) rows listed: attention over the wx * wy keys of the window.

#include <kernelites/reference_attention.cuh>

namespace reference = kernelites::reference;

/// Where the window of place i begins along an axis of length L: centred at the leader of i's group, moved inside.
__device__ int window_start(int i, int L, int w, int s) {
  const int leader = min(i / s * s + s / 2, L - 1);
  return min(max(leader - w / 2, 0), L - w);
}

template <int D>
__global__ void __launch_bounds__(reference::k_attend_threads)
gna_reference(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
              const unsigned short* __restrict__ v, double* __restrict__ o, double* __restrict__ lse,
              const long long* __restrict__ rows, int X, int Y, int H, int wx, int wy, int sx, int sy, float scale) {
  const long long row = rows[blockIdx.x], b = row / H / Y / X;
  const int h = (int)(row % H), y = (int)(row / H % Y), x = (int)(row / H / Y % X);
  const int first_x = window_start(x, X, wx, sx), first_y = window_start(y, Y, wy, sy);
  const auto key_at = [&](int n) {
    return (((b * X + first_x + n / wy) * Y + first_y + n % wy) * H + h) * D;
  };
  reference::attend_keys<D>(o + (long long)blockIdx.x * D, lse + blockIdx.x, q + row * D, k, v, (double)scale, wx * wy,
                            key_at);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch(p.D == 32 ? "gna_reference<32>" : p.D == 64 ? "gna_reference<64>" : "gna_reference<128>")
      .grid(p.R).block(kernelites::reference::k_attend_threads)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.o).arg(p.lse).arg(p.rows).arg(p.X).arg(p.Y).arg(p.H).arg(p.wx).arg(p.wy)
      .arg(p.sx).arg(p.sy).arg(p.scale);
}
