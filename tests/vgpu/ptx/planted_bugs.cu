// SPDX-License-Identifier: Apache-2.0
// Small kernels with one planted bug each, every kind of fault in its simplest form (planted.cuh).
#include "planted.cuh"

KERNEL out_of_bounds__off_by_one(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  o[i] = a[i + BUG(1, 0)];  // <- bug
}
KERNEL out_of_bounds__negative(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  o[i] = a[i - BUG(1, 0)];  // <- bug
}
KERNEL out_of_bounds__store_past_end(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  o[BUG(2, 1) * i] = a[i];  // <- bug
}
KERNEL out_of_bounds__vector_tail(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  float4 v = reinterpret_cast<const float4*>(a)[BUG(i, i / 4)];  // <- bug
  o[i] = v.x + v.y + v.z + v.w;
}
KERNEL out_of_bounds__null(ARGS) {
  INDICES;
  float* p = n > BUG(0, 256) ? nullptr : o + i;
  *(volatile float*)p = a[threadIdx.x];  // <- bug
}
KERNEL out_of_bounds__shared_overrun(ARGS) {
  INDICES;
  __shared__ float s[64];
  s[threadIdx.x + BUG(n / 4, 0)] = a[threadIdx.x];  // <- bug
  __syncthreads();
  o[i] = s[threadIdx.x];
}
KERNEL out_of_bounds__double_buffer_overrun(ARGS) {
  __shared__ float s[2][64];
  float sum = 0;
  for (int t = 0; t < n / 64; ++t) {
    s[BUG(t, t & 1)][threadIdx.x] = a[t * 64 + threadIdx.x];  // <- bug
    __syncthreads();
    sum += s[BUG(t, t & 1)][63 - threadIdx.x];
  }
  o[blockIdx.x * 64 + threadIdx.x] = sum;
}
KERNEL out_of_bounds__atomic(ARGS) {
  INDICES;
  atomicAdd(&w[threadIdx.x + BUG(255, 0)], 1u);  // <- bug
  o[i] = a[threadIdx.x];
}
KERNEL out_of_bounds__integer_overflow(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  o[i] = a[BUG((long long)(i * 65536 * 32768) + n, i)];  // <- bug
}
KERNEL misaligned__vector_load(ARGS) {
  INDICES;
  float4 v;
  asm volatile("ld.global.v4.f32 {%0,%1,%2,%3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "l"(a + BUG(1, 4) * tid));  // <- bug
  o[i] = v.x + v.y + v.z + v.w;
}
KERNEL misaligned__shared_store(ARGS) {
  INDICES;
  __shared__ __align__(16) float s[128];
  unsigned at = (unsigned)__cvta_generic_to_shared(s + BUG(1, 2) * tid);
  asm volatile("st.shared.v2.f32 [%0], {%1,%1};" ::"r"(at), "f"(a[0]) : "memory");  // <- bug
  o[i] = *const_cast<volatile float*>(&s[2 * tid]);
}
KERNEL uninitialised__shared_tail(ARGS) {
  __shared__ float s[65];
  s[threadIdx.x] = a[threadIdx.x];
  BUG(, if (threadIdx.x == 0) s[64] = 0);
  __syncthreads();
  o[blockIdx.x * 64 + threadIdx.x] = s[threadIdx.x + 1];  // <- bug
}
KERNEL uninitialised__output_read(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  BUG(, o[i] = 1);
  o[i] = *(volatile float*)&o[i] + a[i];  // <- bug
}
KERNEL uninitialised__local_array(ARGS) {
  INDICES;
  float x[16];
  for (int k = 0; k < n / BUG(32, 16); ++k) x[k] = a[k];
  o[i] = x[(threadIdx.x + n) & 15];  // <- bug
}
KERNEL race__missing_barrier(ARGS) {
  __shared__ float s[64];
  s[threadIdx.x] = a[threadIdx.x];  // <- bug
  BUG(, __syncthreads());
  o[blockIdx.x * 64 + threadIdx.x] = s[63 - threadIdx.x];  // <- bug
}
KERNEL race__missing_second_barrier(ARGS) {
  __shared__ float s[64];
  float sum = 0;
  for (int t = 0; t < 2; ++t) {
    s[threadIdx.x] = a[t * 64 + threadIdx.x];  // <- bug
    __syncthreads();
    sum += s[63 - threadIdx.x];  // <- bug
    BUG(, __syncthreads());
  }
  o[blockIdx.x * 64 + threadIdx.x] = sum;
}
KERNEL race__write_write(ARGS) {
  __shared__ float s[64];
  s[threadIdx.x & BUG(31, 63)] = a[threadIdx.x];  // <- bug
  __syncthreads();
  o[blockIdx.x * 64 + threadIdx.x] = s[threadIdx.x & BUG(31, 63)];
}
KERNEL race__reduction_without_barrier(ARGS) {
  __shared__ float s[64];
  s[threadIdx.x] = a[threadIdx.x];
  __syncthreads();
  for (int d = 32; d > 0; d /= 2) {
    if (threadIdx.x < d) s[threadIdx.x] += s[threadIdx.x + d];  // <- bug
    if (BUG(d > 1, true)) __syncthreads();
  }
  o[blockIdx.x * 64 + threadIdx.x] = s[0];  // <- bug
}
KERNEL divergent_barrier__in_branch(ARGS) {
  __shared__ float s[64];
  s[threadIdx.x] = a[threadIdx.x];
  if (threadIdx.x < BUG(40, 64)) __syncthreads();  // <- bug
  if (threadIdx.x >= 40) s[threadIdx.x] += 1;
  __syncthreads();
  o[blockIdx.x * 64 + threadIdx.x] = s[threadIdx.x];
}
KERNEL divergent_barrier__odd_lanes(ARGS) {
  float x = a[threadIdx.x];
  if (threadIdx.x & BUG(1, 64)) {
    __syncthreads();  // <- bug
    x += 1;
  } else {
    x *= x;
    __syncthreads();  // <- bug
  }
  o[blockIdx.x * 64 + threadIdx.x] = x;
}
KERNEL deadlock__two_barriers(ARGS) {
  if (threadIdx.x < 32) asm volatile("bar.sync 1, 64;");  // <- bug
  else asm volatile("bar.sync %0, 64;" ::"r"(BUG(2, 1)));
  o[blockIdx.x * 64 + threadIdx.x] = a[threadIdx.x];
}
KERNEL deadlock__count_too_high(ARGS) {
  asm volatile("bar.sync 1, %0;" ::"r"(BUG(128, 64)));  // <- bug
  o[blockIdx.x * 64 + threadIdx.x] = a[threadIdx.x];
}
KERNEL invalid_shuffle__half_of_the_warp(ARGS) {
  float x = a[threadIdx.x];
  if ((threadIdx.x & 31) < 16) x += __shfl_xor_sync(BUG(0xffffffffu, 0xffffu), x, 1);  // <- bug
  o[blockIdx.x * 64 + threadIdx.x] = x;
}
KERNEL invalid_shuffle__exited_lanes(ARGS) {
  BUG(, o[blockIdx.x * 64 + threadIdx.x] = 0);
  if ((threadIdx.x & 31) > BUG(20, 31)) return;
  float x = __shfl_down_sync(0xffffffffu, a[threadIdx.x], 1);  // <- bug
  o[blockIdx.x * 64 + threadIdx.x] = x;
}
KERNEL invalid_shuffle__outside_the_mask(ARGS) {
  float x = a[threadIdx.x];
  if ((threadIdx.x & 31) < 16) x = __shfl_down_sync(0x0000ffffu, x, 4, BUG(32, 16));  // <- bug
  o[blockIdx.x * 64 + threadIdx.x] = x;
}
KERNEL read_only_write__input(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  BUG(const_cast<float*>(a), o)[i] = 0;  // <- bug
  o[i] = n;
}
KERNEL budget_exceeded__endless_loop(ARGS) {
  INDICES;
  float x = a[i];
  while (x BUG(!=, ==) 100) x = -x;  // <- bug
  o[i] = x;
}
KERNEL deadlock__waits_for_nobody(ARGS) {
  INDICES;
  while (*(volatile unsigned*)w == BUG(0, 1)) {}  // <- bug
  o[i] = a[i];
}
KERNEL trap__trap(ARGS) {
  INDICES;
  if (n == 256 && threadIdx.x == BUG(5, 64)) __trap();  // <- bug
  o[i] = a[threadIdx.x];
}
KERNEL copy_not_waited__missing_wait(ARGS) {
  INDICES;
  __shared__ float s[64];
  COPY_4(&s[tid], a + tid);
  COMMIT;
  BUG(, WAIT(0));
  __syncthreads();
  o[i] = s[tid];  // <- bug
}
KERNEL copy_not_waited__wait_too_weak(ARGS) {
  INDICES;
  __shared__ float s[2][64];
  for (int k = 0; k < 2; ++k) {
    COPY_4(&s[k][tid], a + 64 * k + tid);
    COMMIT;
  }
  BUG(WAIT(1), WAIT(0));
  __syncthreads();
  o[i] = s[0][tid] +
         s[1][tid];  // <- bug
}
KERNEL race__copy_without_barrier(ARGS) {
  INDICES;
  __shared__ float s[64];
  COPY_4(&s[tid], a + tid);
  COMMIT;
  WAIT(0);
  BUG(if (tid == 0 && n == 0) w[0] = 1, __syncthreads());
  o[i] = s[63 - tid];  // <- bug
}
