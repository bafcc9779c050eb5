// SPDX-License-Identifier: Apache-2.0
// Forward attention o = softmax(scale q k^T) v and its log-sum-exp, bf16, D = 128, grouped heads, for Hopper.
//
// Technique: one producer warpgroup feeds a two-stage ring of K and V tiles by TMA; two consumer warpgroups own 64
// query rows each (wgmma from shared memory for S, from registers for P V). Two blocks form a cluster: each loads half
// of every K and V tile and multicasts it to both, so a stage is free only when the consumers of both blocks say so.
// A fixture of the contract's tests: everything that an FA3-class kernel needs must be expressible.
#include <kernelites/plan.cuh>
#include <kernelites/ptx.cuh>

namespace ptx = kl::ptx;

constexpr int k_rows = 128, k_keys = 128, k_dim = 128, k_stages = 2, k_consumers = 2, k_cluster = 2;
constexpr int k_panel = 64;  // columns per 128-byte swizzled row
constexpr int k_threads = (k_consumers + 1) * 128;
constexpr int k_tile_bytes = k_keys * k_dim * 2;

struct Smem {
  unsigned char q[k_rows * k_dim * 2], k[k_stages][k_tile_bytes], v[k_stages][k_tile_bytes];
  uint64_t q_full, k_full[k_stages], v_full[k_stages], k_empty[k_stages], v_empty[k_stages];
};

__device__ __forceinline__ uint64_t operand(const unsigned char* tile, int rows, int step) {
  return ptx::wgmma_descriptor(ptx::smem_address(tile) + (step / 4) * rows * 128 + (step % 4) * 32);
}

// S = Q K^T over the head dimension: 8 steps of 16.
__device__ __forceinline__ void scores(float (&s)[64], const unsigned char* q, const unsigned char* k) {
#pragma unroll
  for (int i = 0; i < k_dim / 16; ++i) ptx::wgmma_bf16_ss<>(s, operand(q, k_rows, i), operand(k, k_keys, i), i != 0);
}

// O += P V over the keys: V is [key, column], so its descriptor is MN-major.
__device__ __forceinline__ void values(float (&o)[64], const uint32_t (&p)[32], const unsigned char* v) {
#pragma unroll
  for (int i = 0; i < k_keys / 16; ++i) {
    const uint32_t a[4] = {p[4 * i], p[4 * i + 1], p[4 * i + 2], p[4 * i + 3]};
    ptx::wgmma_bf16_rs<true>(o, a, ptx::wgmma_descriptor(ptx::smem_address(v) + i * 2048, k_keys * 128, 1024), true);
  }
}

__device__ __forceinline__ void softmax(float (&s)[64], float (&m)[2], float (&l)[2], float (&rescale)[2], float scale,
                                        int key0, int keys) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float top = m[half];
#pragma unroll
    for (int j = 0; j < 32; ++j) {
      float& x = s[(j / 2) * 4 + half * 2 + j % 2];
      if (key0 + (j / 2) * 8 + j % 2 >= keys) x = -INFINITY;
      top = fmaxf(top, x);
    }
    top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
    top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
    rescale[half] = ptx::ex2((m[half] - top) * scale);
    m[half] = top;
    l[half] *= rescale[half];
#pragma unroll
    for (int j = 0; j < 32; ++j) {
      float& x = s[(j / 2) * 4 + half * 2 + j % 2];
      x = ptx::ex2((x - top) * scale);
      l[half] += x;
    }
  }
}

__device__ __forceinline__ void produce(Smem& sm, const CUtensorMap* q, const CUtensorMap* k, const CUtensorMap* v,
                                        int row0, int head, int kv_head, int batch, int tiles) {
  const int rank = static_cast<int>(ptx::cluster_rank());
  constexpr int half_rows = k_keys / k_cluster;
  ptx::mbarrier_arrive_expect(&sm.q_full, sizeof sm.q);
  for (int c = 0; c < k_dim / k_panel; ++c) {
    ptx::tma_load_4d(sm.q + c * k_rows * 128, q, &sm.q_full, c * k_panel, row0, head, batch);
  }
  const auto load = [&](unsigned char* tile, const CUtensorMap* map, uint64_t* full, uint64_t* empty, int n, int parity) {
    ptx::mbarrier_wait(empty, parity ^ 1);
    ptx::mbarrier_arrive_expect(full, k_tile_bytes);
    for (int c = 0; c < k_dim / k_panel; ++c) {
      ptx::tma_load_multicast_4d(tile + (c * k_keys + rank * half_rows) * 128, map, full, (1 << k_cluster) - 1,
                                 c * k_panel, n * k_keys + rank * half_rows, kv_head, batch);
    }
  };
  for (int n = 0; n < tiles; ++n) {
    const int stage = n % k_stages, parity = n / k_stages & 1;
    load(sm.k[stage], k, &sm.k_full[stage], &sm.k_empty[stage], n, parity);
    load(sm.v[stage], v, &sm.v_full[stage], &sm.v_empty[stage], n, parity);
  }
}

__device__ __forceinline__ void release(uint64_t* empty, int thread) {
  if (thread < k_cluster) ptx::mbarrier_arrive_cluster(empty, thread);  // to both blocks of the cluster
}

__global__ void __launch_bounds__(k_threads, 1)
    cluster_attention(const __grid_constant__ CUtensorMap q_map, const __grid_constant__ CUtensorMap k_map,
                      const __grid_constant__ CUtensorMap v_map, uint16_t* __restrict__ o, float* __restrict__ lse,
                      int heads, int group, int queries, int keys, float scale) {
  extern __shared__ __align__(1024) unsigned char raw[];
  Smem& sm = *reinterpret_cast<Smem*>(raw);
  const int warpgroup = threadIdx.x / 128, thread = threadIdx.x % 128;
  const int row0 = blockIdx.x * k_rows, h = blockIdx.y, b = blockIdx.z, tiles = (keys + k_keys - 1) / k_keys;
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(&sm.q_full, 1);
    for (int i = 0; i < k_stages; ++i) {
      ptx::mbarrier_init(&sm.k_full[i], 1);
      ptx::mbarrier_init(&sm.v_full[i], 1);
      ptx::mbarrier_init(&sm.k_empty[i], k_cluster * k_consumers);
      ptx::mbarrier_init(&sm.v_empty[i], k_cluster * k_consumers);
    }
    ptx::fence_mbarrier_init();
  }
  ptx::cluster_sync();  // the barriers of both blocks exist
  if (warpgroup == 0) {
    ptx::register_decrease<24>();
    if (thread == 0) produce(sm, &q_map, &k_map, &v_map, row0, h, h / group, b, tiles);
  } else {
    ptx::register_increase<240>();
    const int w = warpgroup - 1, lane = thread % 32, row = row0 + w * 64 + thread / 32 * 16 + lane / 4;
    float acc[64] = {}, m[2] = {-INFINITY, -INFINITY}, l[2] = {}, rescale[2];
    ptx::mbarrier_wait(&sm.q_full, 0);
    for (int n = 0; n < tiles; ++n) {
      const int stage = n % k_stages, parity = n / k_stages & 1;
      float s[64];
      ptx::mbarrier_wait(&sm.k_full[stage], parity);
      ptx::wgmma_fence();
      scores(s, sm.q + w * 64 * 128, sm.k[stage]);
      ptx::wgmma_commit();
      ptx::wgmma_wait<0>();
      release(&sm.k_empty[stage], thread);
      softmax(s, m, l, rescale, scale, n * k_keys + lane % 4 * 2, keys);
      uint32_t p[32];
#pragma unroll
      for (int i = 0; i < 32; ++i) p[i] = ptx::pack_bf16(s[2 * i], s[2 * i + 1]);
#pragma unroll
      for (int i = 0; i < 64; ++i) acc[i] *= rescale[i / 2 % 2];
      ptx::mbarrier_wait(&sm.v_full[stage], parity);
      ptx::wgmma_fence();
      values(acc, p, sm.v[stage]);
      ptx::wgmma_commit();
      ptx::wgmma_wait<0>();
      release(&sm.v_empty[stage], thread);
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = l[half] + __shfl_xor_sync(~0u, l[half], 1);
      sum += __shfl_xor_sync(~0u, sum, 2);
      const int r = row + half * 8;
      if (r >= queries) continue;
      if (lane % 4 == 0) {
        lse[(static_cast<long long>(b) * queries + r) * heads + h] = (m[half] * scale + ptx::lg2(sum)) * float(M_LN2);
      }
      uint16_t* out = o + ((static_cast<long long>(b) * queries + r) * heads + h) * k_dim + lane % 4 * 2;
#pragma unroll
      for (int j = 0; j < 16; ++j) {
        *reinterpret_cast<uint32_t*>(out + j * 8) =
            ptx::pack_bf16(acc[j * 4 + half * 2] / sum, acc[j * 4 + half * 2 + 1] / sum);
      }
    }
  }
  ptx::cluster_sync();  // no block ends while the other may still arrive at its barriers
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == k_dim && p.H % p.Hkv == 0, "D = 128 and whole groups of heads")) return;
  // Axes innermost first: column, position, head, batch.
  auto& q = plan.tensor_map(p.q, {3, 1, 2, 0}, {k_panel, k_rows, 1, 1}, kl::swizzle_128);
  auto& k = plan.tensor_map(p.k, {3, 1, 2, 0}, {k_panel, k_keys / k_cluster, 1, 1}, kl::swizzle_128);
  auto& v = plan.tensor_map(p.v, {3, 1, 2, 0}, {k_panel, k_keys / k_cluster, 1, 1}, kl::swizzle_128);
  plan.launch("cluster_attention")
      .grid(kl::round_up(kl::cdiv(p.Sq, k_rows), k_cluster), p.H, p.B)
      .block(k_threads)
      .cluster(k_cluster)
      .shared(sizeof(Smem) + 1024)
      .arg(q).arg(k).arg(v).arg(p.o).arg(p.lse)
      .arg(p.H).arg(p.H / p.Hkv).arg(p.Sq).arg(p.Sk).arg(p.scale * float(M_LOG2E));
}
