// SPDX-License-Identifier: Apache-2.0
// Kernels that look for what a launch must not find, and write where it must not, as CUDA text for NVRTC.
#pragma once

namespace kernelites {

// Kernels, with their parameters:
//   copy          (out, in, n)                one word each, in bounds
//   read_at       (out, in, offset)           out[0] = the word at in + offset
//   write_at      (out, offset)               writes a word at out + offset
//   find_words    (base, words, tag, count)   counts words equal to tag
//   plant_shared / find_shared (tag, words, count)   all shared memory, the system's too
//   plant_local / find_local   (tag, count)   2 KiB of local memory a thread
//   find_registers (tag, count)               registers that nothing wrote
//   plant_lines   (base, vectors, evict_last) reads a working set, with or without a wish to keep it in the L2
//   flush_plain   (base, vectors)             reads with ordinary priority
//   probe_lines   (base, lines, seed, latency, count)   cycles of dependent reads of random lines, one thread
//   discard_lines (base, lines)               discard.global.L2
//   write_code    (out)                       tries to write over the code of a device function
inline constexpr const char* k_attack_kernels = R"(
using u32 = unsigned int; using u64 = unsigned long long; using i64 = long long;
#define KERNEL extern "C" __global__ void
__device__ u64 mix(u64 x) {
  x += 0x9E3779B97F4A7C15ull; x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull; return x ^ (x >> 31);
}
KERNEL copy(u32* out, const u32* in, i64 n) {
  for (i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x; i < n; i += gridDim.x * (i64)blockDim.x) out[i] = in[i];
}
KERNEL read_at(u32* out, const char* in, i64 offset) { out[0] = *(const volatile u32*)(in + offset); }
KERNEL write_at(char* out, i64 offset) { *(volatile u32*)(out + offset) = 0x12345678u; }
KERNEL find_words(const u32* base, i64 words, u32 tag, u32* count) {
  for (i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x; i < words; i += gridDim.x * (i64)blockDim.x)
    if (base[i] == tag) atomicAdd(count, 1u);
}
extern __shared__ volatile u32 shared[];
// From address 0, where the system's kilobyte lies.
__device__ u32 end_of_shared(u32 words) { return (u32)__cvta_generic_to_shared((const void*)shared) + 4 * words; }
KERNEL plant_shared(u32 tag, u32 words) {
  for (u32 at = 4 * threadIdx.x; at < end_of_shared(words); at += 4 * blockDim.x)
    asm volatile("st.shared.u32 [%0], %1;" :: "r"(at), "r"(tag) : "memory");
}
KERNEL find_shared(u32 tag, u32 words, u32* count) {
  u32 found = 0, value;
  for (u32 at = 4 * threadIdx.x; at < end_of_shared(words); at += 4 * blockDim.x) {
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(value) : "r"(at) : "memory");
    found += value == tag;
  }
  atomicAdd(count, found);
}
KERNEL plant_local(u32 tag, u32* sink) {
  volatile u32 frame[512];
  for (int i = 0; i < 512; ++i) frame[i] = tag;
  if (frame[(u32)clock() % 512] != tag) *sink = 1;
}
KERNEL find_local(u32 tag, u32* count) {
  u32 found;
  asm volatile("{ .local .align 16 .b8 frame[2048]; .reg .b32 i, v; .reg .b64 a; .reg .pred p, q;"
               " mov.u32 i, 0; mov.u32 %0, 0; mov.u64 a, frame;"
               "look: ld.local.u32 v, [a]; setp.eq.u32 q, v, %1; @q add.u32 %0, %0, 1;"
               " add.u64 a, a, 4; add.u32 i, i, 1; setp.lt.u32 p, i, 512; @p bra look; }"
               : "=&r"(found) : "r"(tag));
  atomicAdd(count, found);
}
KERNEL plant_registers(u32 tag, u32* sink) {
  u32 a[24];
  for (int i = 0; i < 24; ++i) a[i] = tag;
  for (int i = 0; i < 24; ++i) asm volatile("" : "+r"(a[i]));
  u32 sum = 0;
  for (int i = 0; i < 24; ++i) sum += a[i];
  if (sum == 1) *sink = sum;
}
KERNEL find_registers(u32 tag, u32* count) {
  u32 found = 0;
#define LOOK { u32 x; asm volatile("{ .reg .b32 never; mov.b32 %0, never; }" : "=r"(x)); found += x == tag; }
  LOOK LOOK LOOK LOOK LOOK LOOK LOOK LOOK
  atomicAdd(count, found);
}
KERNEL plant_lines(const uint4* base, i64 vectors, int evict_last, u32* sink) {
  u32 sum = 0; u64 policy;
  asm("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy));
  for (i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x; i < vectors; i += gridDim.x * (i64)blockDim.x) {
    uint4 v;
    if (evict_last)
      asm volatile("ld.global.L2::cache_hint.v4.u32 {%0,%1,%2,%3}, [%4], %5;"
                   : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(base + i), "l"(policy));
    else
      asm volatile("ld.global.v4.u32 {%0,%1,%2,%3}, [%4];"
                   : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(base + i));
    sum += v.x ^ v.y ^ v.z ^ v.w;
  }
  if (sum == 0x51ED270Bu) *sink = sum;
}
KERNEL probe_lines(const char* base, i64 lines, u64 seed, u32* latency, int count, u32* sink) {
  for (int i = 0; i < count; ++i) {
    const char* line = base + 128 * (i64)(mix(seed + i) % (u64)lines);
    const i64 begin = clock64();
    u32 v;
    asm volatile("ld.global.cg.u32 %0, [%1];" : "=r"(v) : "l"(line) : "memory");
    if (v == 0x51ED270Bu) { *sink = v; return; }  // the clock is read once the word is there
    latency[i] = (u32)(clock64() - begin);
  }
}
KERNEL discard_lines(char* base, i64 lines) {
  for (i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x; i < lines; i += gridDim.x * (i64)blockDim.x)
    asm volatile("discard.global.L2 [%0], 128;" :: "l"(base + 128 * i) : "memory");
}
__device__ __noinline__ u32 victim(u32 x) { return x * 3 + 1; }
KERNEL write_code(u32* out, int really) {
  u32 (*pointer)(u32) = victim;
  u64 address;
  asm volatile("add.u64 %0, %1, 0;" : "=l"(address) : "l"(pointer));
  out[0] = (u32)address; out[1] = (u32)(address >> 32);
  if (really == 1) out[2] = *(const volatile u32*)address;
  if (really == 2) *(volatile u32*)address = 0;
  out[3] = pointer((u32)really);
}
)";

}  // namespace kernelites
