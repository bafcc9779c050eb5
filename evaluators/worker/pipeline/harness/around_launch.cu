// SPDX-License-Identifier: Apache-2.0
// What happens around a launch, by executor and referee, on either device.
//
//   harness_poison    outputs and workspaces before every launch, so that nothing left over can pass
//   harness_slack     what their mappings hold besides, up to the unmapped guards
//   harness_verify    the slack after a launch: what is no longer as it was poisoned was written out of bounds
//   harness_digest    inputs before and after
//   harness_clear     zeroed workspaces, inside the timed region
//   harness_scrub     shared memory and registers between launches, harness_scrub_local_* local memory
//   harness_clock     keeps the device busy while the host enqueues the timed launches, and notes the clock meanwhile
//   harness_rival     holds multiprocessors beside a candidate, so that its blocks start late and not together
//   harness_flush     evicts the L2 by reading a buffer larger than it; harness_demote makes what it read evictable

// Writes a word, or at the end of a buffer as many of its bytes as there are.
__device__ __forceinline__ void store_word(unsigned char* out, i64 bytes, i64 word, u32 value) {
  if (word * 4 + 4 <= bytes) {
    ((u32*)out)[word] = value;
  } else {
    for (i64 i = word * 4; i < bytes; ++i) out[i] = (unsigned char)(value >> (8 * (i % 4)));
  }
}

// Poison in rotation: NaN in every 16- and 32-bit format, large finite values, small plausible ones.
__device__ __forceinline__ u32 poison_word(u64 seed, int kind, i64 word) {
  const u32 bits = (u32)mix(seed + (u64)word);
  if (kind == 0) return 0xFFC07FC1u | (bits & 0x80008000u);
  if (kind == 1) return 0x46EA46EAu ^ (bits & 0x803F803Fu);
  return 0x3C003C00u ^ (bits & 0x81FF81FFu);
}

// The words of a mapping that are not wholly inside [skip_begin, skip_end): those before, then those behind.
struct Slack {
  __device__ Slack(i64 bytes, i64 skip_begin, i64 skip_end)
      : before((skip_begin + 3) / 4), resume(skip_end / 4 > before ? skip_end / 4 : before),
        count(before + ((bytes + 3) / 4 - resume)) {}
  __device__ i64 word(i64 i) const { return i < before ? i : i - before + resume; }
  const i64 before, resume, count;
};

extern "C" __global__ void __launch_bounds__(256) harness_poison(unsigned char* out, i64 bytes, u64 seed, int kind) {
  const i64 stride = (i64)gridDim.x * blockDim.x, words = (bytes + 3) / 4;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < words; i += stride)
    store_word(out, bytes, i, poison_word(seed, kind, i));
}

// Everything but the bytes [skip_begin, skip_end), of which a word at either edge may hold some: those are kept.
extern "C" __global__ void __launch_bounds__(256)
harness_slack(unsigned char* out, i64 bytes, i64 skip_begin, i64 skip_end, u64 seed, int kind) {
  const i64 stride = (i64)gridDim.x * blockDim.x;
  const Slack slack(bytes, skip_begin, skip_end);
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < slack.count; i += stride) {
    const i64 word = slack.word(i);
    const u32 value = poison_word(seed, kind, word);
    for (i64 k = word * 4; k < word * 4 + 4 && k < bytes; ++k)
      if (k < skip_begin || k >= skip_end) out[k] = (unsigned char)(value >> (8 * (k % 4)));
  }
}

// counts[0], counts[1]: bytes before and behind [skip_begin, skip_end) that are no longer what harness_slack or harness_poison wrote.
extern "C" __global__ void __launch_bounds__(256)
harness_verify(const unsigned char* out, i64 bytes, i64 skip_begin, i64 skip_end, u64 seed, int kind, u32* counts) {
  const i64 stride = (i64)gridDim.x * blockDim.x;
  const Slack slack(bytes, skip_begin, skip_end);
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < slack.count; i += stride) {
    const i64 word = slack.word(i);
    const u32 value = poison_word(seed, kind, word);
    if (word * 4 + 4 <= bytes && ((const u32*)out)[word] == value) continue;
    for (i64 k = word * 4; k < word * 4 + 4 && k < bytes; ++k) {
      if ((k >= skip_begin && k < skip_end) || out[k] == (unsigned char)(value >> (8 * (k % 4)))) continue;
      atomicAdd(&counts[k < skip_begin ? 0 : 1], 1u);
    }
  }
}

// A sum that depends on every value and its place. REQUIRES: 16-byte alignment.
extern "C" __global__ void __launch_bounds__(256) harness_digest(const ulonglong2* data, i64 pairs, u64 seed, u64* sum) {
  const i64 stride = (i64)gridDim.x * blockDim.x;
  u64 partial = 0;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < pairs; i += stride) {
    const ulonglong2 pair = data[i];
    partial += mix(pair.x ^ mix(seed + 2 * (u64)i)) + mix(pair.y ^ mix(seed + 2 * (u64)i + 1));
  }
  atomicAdd(sum, partial);
}

extern "C" __global__ void __launch_bounds__(256) harness_clear(unsigned char* out, i64 bytes) {
  const i64 stride = (i64)gridDim.x * blockDim.x, words = (bytes + 3) / 4;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < words; i += stride) store_word(out, bytes, i, 0);
}

// One block takes all shared memory of a multiprocessor and all of its registers, and fills them with noise: what a
// launch finds in memory that it has not written is nothing of the launch before.
extern "C" __global__ void __launch_bounds__(1024, 1) harness_scrub(u64 seed, u32 words) {
  constexpr int k_live = 56;
  extern __shared__ volatile u32 shared[];
  u32 noise = (u32)mix(seed + (u64)blockIdx.x * 1024 + threadIdx.x);
  for (u32 i = threadIdx.x; i < words; i += 1024) {
    noise = noise * 1664525u + 1013904223u;
    shared[i] = noise ^ (noise >> 15);
  }
  // What lies below belongs to the system (a kilobyte), and a candidate reaches it by its address all the same.
  const u32 own = (u32)__cvta_generic_to_shared((const void*)shared);
  for (u32 at = 4 * threadIdx.x; at < own; at += 4096)
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(at), "r"(noise ^ at) : "memory");
  __syncthreads();
  // Volatile reads stay before volatile writes, so that all values live in registers at once. A device with less shared
  // memory has fewer to read: the rest is noise as well.
  const u32 held = words / 1024;
  u32 live[k_live];
#pragma unroll
  for (u32 k = 0; k < k_live; ++k) {
    live[k] = noise + k;
    if (k < held) live[k] = shared[threadIdx.x + 1024 * k];
  }
  __syncthreads();
#pragma unroll
  for (u32 k = k_live; k-- > 0;) {
    if (k < held) shared[threadIdx.x + 1024 * k] = live[k];
  }
}

// Frames of local memory begin at the same place for all kernels of a context: a frame at least as large as theirs
// covers what they left.
template <int words>
__device__ __forceinline__ void scrub_local(u64 seed, u32* sink) {
  volatile u32 frame[words];
  u32 noise = (u32)mix(seed + (u64)blockIdx.x * blockDim.x + threadIdx.x);
  for (int i = 0; i < words; ++i) {
    noise = noise * 1664525u + 1013904223u;
    frame[i] = noise;
  }
  if (frame[noise % words] == 0x51ED270Bu && frame[(noise >> 9) % words] == 0x2545F491u) *sink = noise;
}
extern "C" __global__ void __launch_bounds__(1024) harness_scrub_local_512(u64 seed, u32* sink) {
  scrub_local<128>(seed, sink);
}
extern "C" __global__ void __launch_bounds__(1024) harness_scrub_local_4096(u64 seed, u32* sink) {
  scrub_local<1024>(seed, sink);
}
extern "C" __global__ void __launch_bounds__(1024) harness_scrub_local_16384(u64 seed, u32* sink) {
  scrub_local<4096>(seed, sink);
}

// Reads every 16 bytes of a buffer twice the size of the L2: what the launches before left in it is evicted, and dirty
// lines are written back before the launch under test. Reading with priority evict_last competes even with lines that
// a candidate gave it; harness_demote then makes the flush's own lines ordinary ones.
extern "C" __global__ void __launch_bounds__(512) harness_flush(uint4* buffer, i64 vectors, u32 salt) {
  const i64 stride = (i64)gridDim.x * blockDim.x;
  u32 sum = 0;
  u64 policy;
  asm("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy));
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < vectors; i += stride) {
    uint4 v;
    asm volatile("ld.global.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(buffer + i), "l"(policy));
    sum += v.x ^ v.y ^ v.z ^ v.w;
  }
  if (sum == salt) buffer[0].x = sum + 1;  // never optimised away, practically never taken
}

extern "C" __global__ void __launch_bounds__(512) harness_demote(char* buffer, i64 lines) {
  const i64 stride = (i64)gridDim.x * blockDim.x;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < lines; i += stride)
    asm volatile("applypriority.global.L2::evict_normal [%0], 128;" ::"l"(buffer + 128 * i) : "memory");
}

__device__ __forceinline__ u64 device_ns() {
  u64 now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  return now;
}
__device__ __forceinline__ i64 cycles_now() {
  i64 now;
  asm volatile("mov.u64 %0, %clock64;" : "=l"(now));
  return now;
}

// One thread waits for `nanoseconds`, from one step of the device's timer to another, and appends to a ring of `slots`
// pairs (cycles, nanoseconds) how many cycles that took. A timer that stands still does not hold it.
extern "C" __global__ void harness_clock(u64* log, u32 slots, u32 nanoseconds) {
  constexpr i64 k_cycles_max = 400000;
  const i64 called = cycles_now();
  const u64 first = device_ns();
  u64 begin = first;
  while (begin == first && cycles_now() - called < k_cycles_max) begin = device_ns();
  const i64 begin_cycles = cycles_now();
  u64 end = begin;
  while (end - begin < nanoseconds && cycles_now() - begin_cycles < k_cycles_max) end = device_ns();
  const i64 cycles = cycles_now() - begin_cycles;
  const u64 slot = log[0] % slots;
  log[0] += 1;
  log[1 + 2 * slot] = (u64)cycles;
  log[2 + 2 * slot] = end - begin;
}

// Every block stays for a time of its own, and meanwhile reads `buffer` at places of its own.
extern "C" __global__ void __launch_bounds__(256)
harness_rival(const uint4* buffer, i64 vectors, u64 seed, u32 longest_ns, u32 salt) {
  constexpr i64 k_cycles_max = 2000000;
  const u64 draw = mix(seed + blockIdx.x);
  const u64 nanoseconds = draw % longest_ns, begin = device_ns();
  const i64 called = cycles_now();
  u64 at = mix(draw + threadIdx.x);
  u32 sum = 0;
  while (device_ns() - begin < nanoseconds && cycles_now() - called < k_cycles_max) {
    at = mix(at);
    sum += ((volatile const u32*)(buffer + at % (u64)vectors))[0];
  }
  if (sum == salt) ((volatile u32*)buffer)[0] = sum + 1;  // never optimised away, practically never taken
}
