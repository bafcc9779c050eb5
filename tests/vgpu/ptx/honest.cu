// SPDX-License-Identifier: Apache-2.0
// Kernels without bugs that compute o[i] = 2 a[i] + 1 in roundabout ways: no check may raise an alarm, in any schedule.
// Launched with 4 blocks of 64 threads unless "launch:" says otherwise; a and o hold n = 256 floats, w 64 zeroed words and
// 192 unwritten ones. a[i] is a small integer.
#include <cooperative_groups.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <mma.h>
#define KERNEL extern "C" __global__ void
#define ARGS const float* __restrict__ a, float* o, unsigned* w, int n
namespace cg = cooperative_groups;

KERNEL plain(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  o[i] = fmaf(a[i], 2.0f, 1.0f);
}
KERNEL through_shared(ARGS) {  // launch: shared 256
  extern __shared__ float s[];
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  for (int round = 0; round < 3; ++round) {
    s[63 - threadIdx.x] = a[i];
    __syncthreads();
    o[i] = 2 * s[63 - threadIdx.x] + 1;
    __syncthreads();
  }
}
KERNEL divergent(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  float x = a[i];
  if (i & 1) {
    for (int k = 0; k < (i & 7); ++k) x += 1;
    x = 2 * x + 1 - 2 * (i & 7);
  } else if (i % 3 == 0) {
    x = x + x + 1;
  } else {
    switch (i & 6) {
      case 0: x = 2 * x + 1; break;
      case 2: x = x * 2.0f + 1.0f; break;
      case 4: x = (x + 0.5f) * 2; break;
      default: x = x + x + 1.0f;
    }
  }
  o[i] = __shfl_sync(0xffffffffu, x, threadIdx.x & 31);
}
KERNEL early_exit_then_barrier(ARGS) {
  __shared__ float s[64];
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (threadIdx.x >= 32) { o[i] = 2 * a[i] + 1; return; }
  s[threadIdx.x] = a[i];
  __syncthreads();
  o[i] = 2 * s[threadIdx.x] + 1;
}
KERNEL shuffles(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x & 31;
  float x = a[i], sum = x;
  for (int d = 16; d > 0; d /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, d);
  float rest = 0;
  for (int k = 0; k < 32; ++k) {
    float other = __shfl_sync(0xffffffffu, x, k);
    rest += k == lane ? 0.0f : other;
  }
  unsigned all = __ballot_sync(0xffffffffu, true);
  unsigned same = __match_any_sync(0xffffffffu, lane / 4);
  bool fine = all == 0xffffffffu && __popc(same) == 4 && __reduce_add_sync(0xffffffffu, lane) == 496;
  o[i] = 2 * (sum - rest) + (fine ? 1 : 5) + __shfl_up_sync(0xffffffffu, 0.0f, 1);
}
KERNEL partial_masks(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x & 31;
  float x = a[i];
  if (lane < 16) x = __shfl_xor_sync(0x0000ffffu, __shfl_xor_sync(0x0000ffffu, x, 3), 3);
  else x = __shfl_xor_sync(0xffff0000u, __shfl_xor_sync(0xffff0000u, x, 5), 5);
  __syncwarp();
  o[i] = 2 * x + 1;
}
KERNEL atomics(ARGS) {
  __shared__ unsigned count;
  __shared__ float total;
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (threadIdx.x == 0) count = 0, total = 0;
  __syncthreads();
  atomicAdd(&count, 1u);
  atomicAdd(&total, 1.0f);
  unsigned ticket = atomicAdd(&w[0], 1u);
  atomicMax(&w[1], ticket);
  atomicCAS(&w[2], 0u, 7u);
  __syncthreads();
  o[i] = 2 * a[i] + (count == 64 && total == 64.0f && ticket < 256 ? 1 : 9);
}
KERNEL halves(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  __half2 h = __floats2half2_rn(a[i], 1.0f);
  h = __hfma2(h, __floats2half2_rn(2.0f, 1.0f), __floats2half2_rn(1.0f, 0.0f));
  __nv_bfloat162 b = __floats2bfloat162_rn(a[i], 0.0f);
  b = __hmul2(b, __floats2bfloat162_rn(1.0f, 3.0f));
  float x = __low2float(h), y = __bfloat162float(b.x);
  o[i] = y == a[i] && __high2float(h) == 1.0f ? x : -1.0f;
}
KERNEL eight_bit_floats(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  __nv_fp8_e4m3 x(a[i]);
  __nv_fp8_e5m2 y(1.0f);
  __nv_fp8x4_e4m3 four(make_float4(a[i], 1, 2, 3));
  float4 back = static_cast<float4>(four);
  o[i] = static_cast<float>(x) + back.x + static_cast<float>(y) + back.w - back.y - back.z;
}
struct Triple { float x; double y; char z[5]; };
__device__ __noinline__ Triple twice(Triple t, int k) { t.x *= 2; t.y += t.z[k & 3]; t.z[4] = 1; return t; }
__device__ __noinline__ float recursive_free(const float* p, int k) { return k > 2 ? p[0] : p[k]; }
KERNEL calls(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  float local[4] = {a[i], a[i], a[i], a[i]};
  Triple t = {0, 0, {0, 1, 2, 3, 4}};
  if (i & 1) t = twice(Triple{recursive_free(local, i & 3), 0, {0, 1, 0, 1, 0}}, i);
  else t.x = 2 * recursive_free(local, i & 3), t.z[4] = 1;
  o[i] = t.x + t.z[4] + static_cast<float>(t.y) - (i & 1);
}
KERNEL local_memory(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  float x[16];
  for (int k = 0; k < 16; ++k) x[(k * 5 + n) & 15] = a[i] + k;
  o[i] = 2 * x[n & 15] + 1;
}
KERNEL doubles(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  double x = a[i], y = sqrt(x * x + 1e-30), z = exp(log(x + 7.0)) - 7.0;
  o[i] = static_cast<float>(x + (fabs(z - x) < 1e-9 ? x : 100) + (y - fabs(x) < 1e-9 ? 1 : 7));
}
KERNEL integers(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned long long wide = (unsigned long long)i * 0x123456789abcdefull + n;
  unsigned folded = (unsigned)(wide >> 32) ^ (unsigned)wide;
  int q = (int)(folded % 1000003u), r = -q / 7, s = -q % 7, c = __clz(folded | 1) + __popc(folded) + __ffs(folded | 8);
  bool fine = r * 7 + s == -q && __brev(__brev(folded)) == folded && __byte_perm(folded, 0, 0x0123) == __byte_perm(folded, 0, 0x0123) &&
              __funnelshift_l(folded, folded, 8) == (folded << 8 | folded >> 24) && c > 0 && __umulhi(folded, 1u << 31) == folded >> 1;
  o[i] = 2 * a[i] + (fine ? 1 : 3);
}
KERNEL named_barriers(ARGS) {
  __shared__ float s[64];
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (threadIdx.x < 32) {
    s[threadIdx.x] = a[i];
    asm volatile("bar.arrive 3, 64;" ::: "memory");
    asm volatile("bar.sync 4, 64;" ::: "memory");
    o[i] = 2 * s[threadIdx.x + 32] - 2 * a[i + 32] + 2 * a[i] + 1;
  } else {
    asm volatile("bar.sync 3, 64;" ::: "memory");
    o[i] = 2 * s[threadIdx.x - 32] - 2 * a[i - 32] + 2 * a[i] + 1;
    s[threadIdx.x] = a[i];
    asm volatile("bar.sync 4, 64;" ::: "memory");
  }
}
KERNEL counting_barrier(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  int count = __syncthreads_count(threadIdx.x % 4 == 0), any = __syncthreads_or(threadIdx.x == 9), all = __syncthreads_and(threadIdx.x < 64);
  o[i] = 2 * a[i] + (count == 16 && any && all ? 1 : 3);
}
KERNEL double_buffered_copies(ARGS) {
  __shared__ __align__(16) float s[2][64];
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  float sum = 0;
  auto issue = [&](int k) {
    unsigned d = (unsigned)__cvta_generic_to_shared(&s[k & 1][threadIdx.x * 4]);
    if (threadIdx.x < 16) asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(d), "l"(a + (k & 3) * 64 + threadIdx.x * 4));
    asm volatile("cp.async.commit_group;");
  };
  issue(blockIdx.x);
  for (int k = 0; k < 3; ++k) {
    issue(blockIdx.x + k + 1);
    asm volatile("cp.async.wait_group 1;" ::: "memory");
    __syncthreads();
    if (k == 0) sum = 2 * s[blockIdx.x & 1][threadIdx.x];
    __syncthreads();
  }
  o[i] = sum + 1;
}
KERNEL tensor_core(ARGS) {  // 16 x 16 identity times 16 x 8 halves through ldmatrix and mma.sync
  __shared__ __align__(16) __half s[16][16];
  __shared__ __align__(16) __half b[16][8];
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  for (int k = threadIdx.x; k < 256; k += 64) s[k / 16][k % 16] = __float2half(k / 16 == k % 16 ? 2.0f : 0.0f);
  for (int k = threadIdx.x; k < 128; k += 64) b[k / 8][k % 8] = __float2half(k < 64 ? a[blockIdx.x * 64 + k] : 0.0f);
  __syncthreads();
  if (threadIdx.x < 32) {
    int lane = threadIdx.x;
    unsigned ra[4], rb[2];
    unsigned pa = (unsigned)__cvta_generic_to_shared(&s[lane & 15][8 * (lane >> 4)]), pb = (unsigned)__cvta_generic_to_shared(&b[lane & 15][0]);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(ra[0]), "=r"(ra[1]), "=r"(ra[2]), "=r"(ra[3]) : "r"(pa));
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(rb[0]), "=r"(rb[1]) : "r"(pb));
    float d[4] = {1, 1, 1, 1};
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[0]), "r"(rb[1]));
    o[blockIdx.x * 64 + (lane >> 2) * 8 + (lane & 3) * 2] = d[0];
    o[blockIdx.x * 64 + (lane >> 2) * 8 + (lane & 3) * 2 + 1] = d[1];
  }
}
KERNEL wmma_tiles(ARGS) {
  using namespace nvcuda;
  __shared__ __align__(32) __half s[256], b[256];
  __shared__ __align__(32) float c[256];
  for (int k = threadIdx.x; k < 256; k += 64) {
    s[k] = __float2half(k / 16 == k % 16 ? 2.0f : 0.0f);
    b[k] = __float2half(k < 64 ? a[blockIdx.x * 64 + k] : 3.0f);
  }
  __syncthreads();
  if (threadIdx.x < 32) {
    wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> fa;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::row_major> fb;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> fc;
    wmma::fill_fragment(fc, 1.0f);
    wmma::load_matrix_sync(fa, s, 16);
    wmma::load_matrix_sync(fb, b, 16);
    wmma::mma_sync(fc, fa, fb, fc);
    wmma::store_matrix_sync(c, fc, 16, wmma::mem_row_major);
  }
  __syncthreads();
  o[blockIdx.x * 64 + threadIdx.x] = c[threadIdx.x];
}
KERNEL last_block_finishes(ARGS) {  // every block leaves its part, the last one to arrive writes the output
  __shared__ unsigned ticket;
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  volatile float* part = reinterpret_cast<volatile float*>(w) ;
  if (threadIdx.x < 8) part[8 + blockIdx.x * 8 + threadIdx.x] = a[blockIdx.x * 64 + threadIdx.x];
  __threadfence();
  if (threadIdx.x == 0) ticket = atomicAdd(w, 1u);
  __syncthreads();
  if (ticket == gridDim.x - 1) {
    for (int k = threadIdx.x; k < 32; k += 64) o[(k / 8) * 64 + k % 8] = 2 * part[8 + k] + 1;
  }
  if (threadIdx.x >= 8) o[i] = 2 * a[i] + 1;
}
KERNEL spin_on_a_later_block(ARGS) {  // block 0 waits for block 3: needs both to be resident
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (blockIdx.x == 3 && threadIdx.x == 0) atomicExch(w, 1u);
  if (blockIdx.x == 0) while (*(volatile unsigned*)w == 0) {}
  o[i] = 2 * a[i] + 1;
}
KERNEL lock_in_a_warp(ARGS) {  // needs progress of every lane: lanes spin while another holds the lock
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  bool done = false;
  while (!done) {
    if (atomicCAS(&w[5], 0u, 1u) == 0) {
      w[6] += 1;
      __threadfence();
      atomicExch(&w[5], 0u);
      done = true;
    }
  }
  o[i] = 2 * a[i] + 1;
}
KERNEL cooperative_grid(ARGS) {  // launch: cooperative
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (threadIdx.x == 0) w[8 + blockIdx.x] = 5 + blockIdx.x;
  cg::this_grid().sync();
  bool fine = w[8 + (blockIdx.x + 1) % 4] == 5 + (blockIdx.x + 1) % 4;
  cg::this_grid().sync();
  o[i] = 2 * a[i] + (fine ? 1 : 3);
}
__device__ float factors[2] = {2.0f, 1.0f};
__constant__ int offsets[2] = {0, 1};
KERNEL module_variables(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  o[i] = a[i] * factors[offsets[i & 1] * 0 + (n >> 20)] + offsets[n >> 8];
}
