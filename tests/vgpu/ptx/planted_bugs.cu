// SPDX-License-Identifier: Apache-2.0
// Kernels with one planted bug each; the name says the fault, a marked line is where it must be reported.
// Launched with 4 blocks of 64 threads, a and o hold n = 256 floats, w 64 zeroed words. PTX: tests/vgpu/ptx/generate.
#define KERNEL extern "C" __global__ void
#define ARGS const float* __restrict__ a, float* o, unsigned* w, int n

KERNEL out_of_bounds__off_by_one(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  o[i] = a[i + 1];  // <- bug
}
KERNEL out_of_bounds__negative(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  o[i] = a[i - 1];  // <- bug
}
KERNEL out_of_bounds__store_past_end(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  o[2 * i] = a[i];  // <- bug
}
KERNEL out_of_bounds__vector_tail(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  float4 v = reinterpret_cast<const float4*>(a)[i];  // <- bug
  o[i] = v.x + v.y + v.z + v.w;
}
KERNEL out_of_bounds__null(ARGS) {
  float* p = n > 0 ? nullptr : o;
  *(volatile float*)p = a[threadIdx.x];  // <- bug
}
KERNEL out_of_bounds__shared_overrun(ARGS) {
  __shared__ float s[64];
  s[threadIdx.x + n / 4] = a[threadIdx.x];  // <- bug
  __syncthreads();
  o[threadIdx.x] = s[threadIdx.x];
}
KERNEL out_of_bounds__double_buffer_overrun(ARGS) {
  __shared__ float s[2][64];
  float sum = 0;
  for (int t = 0; t < n / 64; ++t) {
    s[t][threadIdx.x] = a[t * 64 + threadIdx.x];  // <- bug
    __syncthreads();
    sum += s[t][63 - threadIdx.x];
  }
  o[blockIdx.x * 64 + threadIdx.x] = sum;
}
KERNEL out_of_bounds__atomic(ARGS) {
  atomicAdd(&w[threadIdx.x + 1], 1u);  // <- bug
  o[threadIdx.x] = a[threadIdx.x];
}
KERNEL out_of_bounds__integer_overflow(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  o[i] = a[(long long)(i * 65536 * 32768) + n];  // <- bug
}
KERNEL misaligned__vector_load(ARGS) {
  int i = threadIdx.x;
  float4 v;
  asm volatile("ld.global.v4.f32 {%0,%1,%2,%3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "l"(a + i));  // <- bug
  o[i] = v.x + v.w;
}
KERNEL misaligned__shared_store(ARGS) {
  __shared__ __align__(16) float s[128];
  volatile float2* p = reinterpret_cast<volatile float2*>(s + threadIdx.x);
  p->x = a[threadIdx.x];
  unsigned at = (unsigned)__cvta_generic_to_shared(s + threadIdx.x);
  asm volatile("st.shared.v2.f32 [%0], {%1,%1};" ::"r"(at), "f"(a[0]));  // <- bug
  o[threadIdx.x] = s[threadIdx.x];
}
KERNEL uninitialised__shared_tail(ARGS) {
  __shared__ float s[65];
  s[threadIdx.x] = a[threadIdx.x];
  __syncthreads();
  o[blockIdx.x * 64 + threadIdx.x] = s[threadIdx.x + 1];  // <- bug
}
KERNEL uninitialised__output_read(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  o[i] = o[i] + a[i];  // <- bug
}
KERNEL uninitialised__local_array(ARGS) {
  float x[16];
  for (int k = 0; k < n / 32; ++k) x[k] = a[k];
  o[threadIdx.x] = x[(threadIdx.x + n) & 15];  // <- bug
}
KERNEL race__missing_barrier(ARGS) {
  __shared__ float s[64];
  s[threadIdx.x] = a[threadIdx.x];
  o[blockIdx.x * 64 + threadIdx.x] = s[63 - threadIdx.x];  // <- bug
}
KERNEL race__missing_second_barrier(ARGS) {
  __shared__ float s[64];
  float sum = 0;
  for (int t = 0; t < 2; ++t) {
    s[threadIdx.x] = a[t * 64 + threadIdx.x];  // <- bug
    __syncthreads();
    sum += s[63 - threadIdx.x];  // <- bug
  }
  o[blockIdx.x * 64 + threadIdx.x] = sum;
}
KERNEL race__write_write(ARGS) {
  __shared__ float s[32];
  s[threadIdx.x & 31] = a[threadIdx.x];  // <- bug
  __syncthreads();
  o[blockIdx.x * 64 + threadIdx.x] = s[threadIdx.x & 31];
}
KERNEL race__reduction_without_barrier(ARGS) {
  __shared__ float s[64];
  s[threadIdx.x] = a[threadIdx.x];
  __syncthreads();
  for (int d = 32; d > 0; d /= 2) {
    if (threadIdx.x < d) s[threadIdx.x] += s[threadIdx.x + d];
    if (d > 1) __syncthreads();
  }
  o[blockIdx.x * 64 + threadIdx.x] = s[0];  // <- bug
}
KERNEL divergent_barrier__in_branch(ARGS) {
  __shared__ float s[64];
  s[threadIdx.x] = a[threadIdx.x];
  if (threadIdx.x < 40) __syncthreads();  // <- bug
  if (threadIdx.x >= 40) s[threadIdx.x] += 1;
  __syncthreads();
  o[blockIdx.x * 64 + threadIdx.x] = s[threadIdx.x];
}
KERNEL divergent_barrier__odd_lanes(ARGS) {
  float x = a[threadIdx.x];
  if (threadIdx.x & 1) {
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
  else asm volatile("bar.sync 2, 64;");
  o[blockIdx.x * 64 + threadIdx.x] = a[threadIdx.x];
}
KERNEL deadlock__count_too_high(ARGS) {
  asm volatile("bar.sync 1, 128;");  // <- bug
  o[blockIdx.x * 64 + threadIdx.x] = a[threadIdx.x];
}
KERNEL invalid_shuffle__half_of_the_warp(ARGS) {
  float x = a[threadIdx.x];
  if ((threadIdx.x & 31) < 16) x += __shfl_xor_sync(0xffffffffu, x, 1);  // <- bug
  o[blockIdx.x * 64 + threadIdx.x] = x;
}
KERNEL invalid_shuffle__exited_lanes(ARGS) {
  if ((threadIdx.x & 31) > 20) return;
  float x = __shfl_down_sync(0xffffffffu, a[threadIdx.x], 1);  // <- bug
  o[blockIdx.x * 64 + threadIdx.x] = x;
}
KERNEL invalid_shuffle__outside_the_mask(ARGS) {
  float x = a[threadIdx.x];
  if ((threadIdx.x & 31) < 16) x = __shfl_down_sync(0x0000ffffu, x, 4);  // <- bug
  o[blockIdx.x * 64 + threadIdx.x] = x;
}
KERNEL read_only_write__input(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  const_cast<float*>(a)[i] = 0;  // <- bug
  o[i] = n;
}
KERNEL budget_exceeded__endless_loop(ARGS) {
  while (*(volatile unsigned*)w == 0) {}  // <- bug
  o[threadIdx.x] = a[threadIdx.x];
}
KERNEL trap__trap(ARGS) {
  if (n == 256 && threadIdx.x == 5) __trap();  // <- bug
  o[threadIdx.x] = a[threadIdx.x];
}
KERNEL copy_not_waited__missing_wait(ARGS) {
  __shared__ float s[64];
  unsigned d = (unsigned)__cvta_generic_to_shared(&s[threadIdx.x]);
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(d), "l"(a + threadIdx.x));
  asm volatile("cp.async.commit_group;");
  __syncthreads();
  o[blockIdx.x * 64 + threadIdx.x] = s[threadIdx.x];  // <- bug
}
KERNEL copy_not_waited__wait_too_weak(ARGS) {
  __shared__ float s[2][64];
  for (int k = 0; k < 2; ++k) {
    unsigned d = (unsigned)__cvta_generic_to_shared(&s[k][threadIdx.x]);
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(d), "l"(a + 64 * k + threadIdx.x));
    asm volatile("cp.async.commit_group;");
  }
  asm volatile("cp.async.wait_group 1;" ::: "memory");
  __syncthreads();
  o[blockIdx.x * 64 + threadIdx.x] = s[0][threadIdx.x] +
                                     s[1][threadIdx.x];  // <- bug
}
KERNEL race__copy_without_barrier(ARGS) {
  __shared__ float s[64];
  unsigned d = (unsigned)__cvta_generic_to_shared(&s[threadIdx.x]);
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(d), "l"(a + threadIdx.x));
  asm volatile("cp.async.commit_group;");
  asm volatile("cp.async.wait_group 0;" ::: "memory");
  if (threadIdx.x == 0) w[0] = 1;
  o[blockIdx.x * 64 + threadIdx.x] = s[63 - threadIdx.x];  // <- bug
}
