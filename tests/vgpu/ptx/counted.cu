// SPDX-License-Identifier: Apache-2.0
// Kernels whose counts are known: 4 blocks of 64 threads, see planted_bugs.cu.
#define KERNEL extern "C" __global__ void
#define ARGS const float* __restrict__ a, float* o, unsigned* w, int n

KERNEL coalesced(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  o[i] = a[i];
}
KERNEL strided(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  o[i] = a[(i * 8 + i / 32) & 255];
}
KERNEL conflict_free(ARGS) {
  __shared__ float s[64];
  s[threadIdx.x] = a[threadIdx.x];
  __syncthreads();
  o[blockIdx.x * 64 + threadIdx.x] = s[threadIdx.x ^ 1];
}
KERNEL conflicts_of_eight(ARGS) {
  __shared__ float s[512];
  for (int k = threadIdx.x; k < 512; k += 64) s[k] = a[k & 255];
  __syncthreads();
  o[blockIdx.x * 64 + threadIdx.x] = s[threadIdx.x * 8];
}
KERNEL exponential(ARGS) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  float x;
  asm volatile("ex2.approx.ftz.f32 %0, %1;" : "=f"(x) : "f"(a[i]));
  if (threadIdx.x & 1) w[0] = 1;
  o[i] = x;
}
