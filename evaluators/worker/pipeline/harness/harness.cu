// SPDX-License-Identifier: Apache-2.0
// What happens around a launch, by the executor on either device.
//
//   harness_poison    outputs and workspaces before every launch, so that nothing left over can pass
//   harness_clear     zeroed workspaces, inside the timed region
//   harness_flush     evicts the L2 by reading a buffer larger than it

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
