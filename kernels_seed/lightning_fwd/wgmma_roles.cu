// SPDX-License-Identifier: Apache-2.0
// Lightning attention in chunks on wgmma: q, k, v [B, H, T, D] (bf16) with a decay per head, o and the final state.
//
// Technique: a block takes one head and 64 channels of its values and walks its tokens in chunks of 64. Warpgroups:
//   0     producer: TMA into a ring of STAGES chunks
//   1     state, the serial chain: S^T (value by key channel, f32 accumulators) = whole * S^T + (left V)^T K; a bf16 copy of
//         it before each chunk goes into one of two buffers in shared memory
//   2, 3  outputs of even and odd chunks: O = since * (Q S) + (Q K^T with decays) V
// The plan chooses by shape: many heads, blocks that take (head, columns) items in turn; two to four multiprocessors for
// a block, two blocks that both walk a head's tokens and write every other chunk; fewer heads still, segments of the
// sequence, whose first states a launch before sums up. Runs on sm_90.
//
// Ladder (geometric means over four shapes on an H100, docs/runs/lightning_fwd.md):
//   naive.cu         token after token, one block per head
//   chunked_mma.cu   64 tokens a step on mma.sync, state in registers
//   this file        wgmma, TMA and roles: 1.92x the second; two blocks for a head's columns: 1.98x; items in turn: 2.03x.
//                    87 % of the floor of memory at three shapes, 80 % with 32 heads and one sequence
//   left to do       64-channel halves that share q and k by multicast were slower (1.5 to 1.76x)

// tune: FILL_PERCENT = 75 | 50

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

// With twice to four times as many SMs as blocks, two independent blocks take a head's columns (SPLIT = 2): both walk all
// keys and values to keep the state, one writes the outputs of even chunks, the other those of odd ones. They walk
// together, so that the second read of a tile comes from the L2.
constexpr int CHUNK = 64, COLUMNS = 64, MAX_STAGES = 6, PIECES = 4, HALF = 64 * 128;  // HALF: bytes of a tile 64 x 64

struct Tables {
  unsigned long long full[MAX_STAGES], empty[MAX_STAGES], s_full[2], s_empty[2];
  float since[CHUNK], left[2][CHUNK], decay[2 * CHUNK];  // decay[63 + distance]
};

__device__ __forceinline__ unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

__device__ __forceinline__ void barrier_init(unsigned long long* barrier, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory");
}

__device__ __forceinline__ void barrier_arrive(unsigned long long* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}

__device__ __forceinline__ void barrier_expect(unsigned long long* barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes) : "memory");
}

__device__ __forceinline__ void barrier_wait(unsigned long long* barrier, int parity) {
  unsigned done = 0;
  while (!done) {
    asm volatile(
        "{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}\n"
        : "=r"(done)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
  }
}

__device__ __forceinline__ void load_box(void* to, const CUtensorMap* map, unsigned long long* barrier, int d, int token, int h,
                                         int b) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(
          shared_address(to)),
      "l"(reinterpret_cast<unsigned long long>(map)), "r"(shared_address(barrier)), "r"(d), "r"(token), "r"(h), "r"(b)
      : "memory");
}

__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

__device__ __forceinline__ void wgmma_finish() {
  asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");
}

/// Keeps the compiler from reading accumulators before the wait.
template <int N>
__device__ __forceinline__ void settle(float (&d)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

/// Descriptor of 128-byte rows, swizzled; eight rows are 1024 bytes, the next 64 columns HALF bytes further.
__device__ __forceinline__ unsigned long long descriptor(const void* p) {
  return (unsigned long long)((shared_address(p) & 0x3ffffu) >> 4) | (unsigned long long)(HALF >> 4) << 16 |
         (unsigned long long)(1024 >> 4) << 32 | 1ull << 62;
}

/// d (64 x 64) = or += A B^T with A and B in shared memory, both with the summed index innermost.
__device__ __forceinline__ void wgmma_ss(float (&d)[32], unsigned long long a, unsigned long long b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
      "%32, %33, p, 1, 1, 0, 0;\n}\n"
      :
        "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
      : "l"(a), "l"(b), "r"(accumulate));
}

/// d (64 x 64) += A B with A in registers and B in shared memory, its 64 columns innermost.
__device__ __forceinline__ void wgmma_rs(float (&d)[32], const unsigned (&a)[4], unsigned long long b) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
      "{%32, %33, %34, %35}, %36, p, 1, 1, 1;\n}\n"
      :
        "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));
}

/// d (64 x 128) += A B with A in registers and B in shared memory, its 128 columns innermost.
__device__ __forceinline__ void wgmma_rs(float (&d)[64], const unsigned (&a)[4], unsigned long long b) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
      "{%64, %65, %66, %67}, %68, p, 1, 1, 1;\n}\n"
      :
        "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
        "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),
        "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
        "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
        "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));
}

__device__ __forceinline__ unsigned scaled(unsigned pair, float low, float high) {
  return ptx::pack_bf16(ptx::low_bf16(pair) * low, ptx::high_bf16(pair) * high);
}

/// OUT: outputs of segments of `span` tokens; otherwise only what each piece of `span` tokens adds to the state.
template <int D, bool OUT, int SPLIT>
__global__ void __launch_bounds__(OUT ? 512 : 256, 1)
lightning_wgmma(const __grid_constant__ CUtensorMap q_map, const __grid_constant__ CUtensorMap k_map,
                const __grid_constant__ CUtensorMap v_map, const float* __restrict__ slope, const float* __restrict__ s0,
                float* parts, unsigned short* __restrict__ o, float* __restrict__ state, int H, int T, int span, int piece,
                int pieces, float scale) {
  constexpr int HALVES = D / 64, TILE = HALVES * HALF, KV = TILE + HALF, STAGES = SPLIT == 2 ? 6 : 4;
  constexpr int Q_AT = STAGES * KV, S_AT = Q_AT + STAGES / SPLIT * TILE;
  extern __shared__ __align__(128) unsigned char memory[];
  unsigned char* const base = memory + ((1024u - (shared_address(memory) & 1023u)) & 1023u);
  unsigned char* const s_tiles = base + S_AT;
  Tables& tables = *reinterpret_cast<Tables*>(s_tiles + 2 * TILE);
  const int thread = threadIdx.x % 128, group = threadIdx.x / 128, lane = thread % 32, warp = thread / 32, g = lane / 4, t = lane % 4;
  const long long head = blockIdx.y;
  const int h = (int)(head % H), b = (int)(head / H);
  const int turn = SPLIT == 2 ? (int)blockIdx.z : 0;  // chunks with c % SPLIT == turn have their outputs from this block
  const int begin = SPLIT == 2 ? 0 : (int)blockIdx.z * span, end = min(T, begin + span);
  const int chunks = (end - begin + CHUNK - 1) / CHUNK, last_tokens = end - begin - (chunks - 1) * CHUNK;
  const float rate = slope[h] * 1.44269504f;  // the decay is 2^-rate

  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; ++i) {
      barrier_init(&tables.full[i], 1);
      barrier_init(&tables.empty[i], OUT && i % SPLIT == turn ? 8 : 4);
    }
    for (int i = 0; i < 2; ++i) {
      barrier_init(&tables.s_full[i], 4);
      barrier_init(&tables.s_empty[i], 4);
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  }
  if (threadIdx.x < CHUNK) {
    const int i = threadIdx.x;
    tables.since[i] = ptx::ex2(-rate * (i + 1)) * scale;
    tables.left[0][i] = ptx::ex2(-rate * (CHUNK - 1 - i));
    tables.left[1][i] = ptx::ex2(-rate * max(last_tokens - 1 - i, 0));  // tokens beyond the last are zero
    tables.decay[63 + i] = ptx::ex2(-rate * i) * scale;
    if (i < 63) tables.decay[i] = 0.0f;
  }
  __syncthreads();

  if (group == 0) {
    if (thread == 0) {
      for (int c = 0; c < chunks; ++c) {
        const int stage = c % STAGES, token = begin + c * CHUNK;
        const bool own = OUT && c % SPLIT == turn;
        unsigned char* const at = base + stage * KV;
        unsigned char* const q_at = base + Q_AT + stage / SPLIT * TILE;
        unsigned long long* const barrier = &tables.full[stage];
        barrier_wait(&tables.empty[stage], ((c / STAGES) & 1) ^ 1);
        barrier_expect(barrier, own ? KV + TILE : KV);
#pragma unroll
        for (int half = 0; half < HALVES; ++half) {
          load_box(at + half * HALF, &k_map, barrier, half * 64, token, h, b);
          if (half == 0) load_box(at + TILE, &v_map, barrier, blockIdx.x * COLUMNS, token, h, b);
          if (own) load_box(q_at + half * HALF, &q_map, barrier, half * 64, token, h, b);
        }
      }
    }
  } else if (group == 1) {
    float s[D / 2];
    const int v_row = blockIdx.x * COLUMNS + warp * 16 + g;  // and 8 further
    float4* const part = reinterpret_cast<float4*>(parts) + (head * pieces * HALVES + blockIdx.x) * (D / 8) * 128 + thread;
    constexpr long long NEXT_PIECE = (long long)HALVES * (D / 8) * 128;
    const long long state_at = head * D * D + v_row;
    if (OUT) {
      const float weight = ptx::ex2(-rate * begin);
#pragma unroll
      for (int i = 0; i < D / 2; ++i) s[i] = weight * s0[state_at + (i / 4 * 8 + t * 2 + i % 2) * D + i % 4 / 2 * 8];
      for (int i = 0; i < begin / piece; ++i) {
        const float left = ptx::ex2(-rate * (begin - (i + 1) * piece));
#pragma unroll
        for (int n = 0; n < D / 8; ++n) {
          const float4 x = part[i * NEXT_PIECE + n * 128];
          s[n * 4] += left * x.x, s[n * 4 + 1] += left * x.y, s[n * 4 + 2] += left * x.z, s[n * 4 + 3] += left * x.w;
        }
      }
    } else {
#pragma unroll
      for (int i = 0; i < D / 2; ++i) s[i] = 0.0f;
    }
    for (int c = 0; c < chunks; ++c) {
      const int stage = c % STAGES;
      const bool is_last = c + 1 == chunks;
      unsigned char* const k_tile = base + stage * KV;
      unsigned char* const v_tile = k_tile + TILE;
      if (OUT && c % SPLIT == turn) {  // the state before this chunk
        const int own = c / SPLIT;
        barrier_wait(&tables.s_empty[own & 1], ((own >> 1) & 1) ^ 1);
        unsigned char* const to = s_tiles + (own & 1) * TILE;
#pragma unroll
        for (int n = 0; n < D / 8; ++n) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int row = warp * 16 + g + half * 8;
            *reinterpret_cast<unsigned*>(to + n / 8 * HALF + row * 128 + ((n % 8) ^ (row & 7)) * 16 + t * 4) =
                ptx::pack_bf16(s[n * 4 + half * 2], s[n * 4 + half * 2 + 1]);
          }
        }
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        __syncwarp();  // every lane's stores are fenced: one arrival a warp
        if (lane == 0) barrier_arrive(&tables.s_full[own & 1]);
      }
      const float whole = ptx::ex2(-rate * (is_last ? last_tokens : CHUNK));
#pragma unroll
      for (int i = 0; i < D / 2; ++i) s[i] *= whole;
      barrier_wait(&tables.full[stage], (c / STAGES) & 1);
      const float* const left = tables.left[is_last ? 1 : 0];
      unsigned a[CHUNK / 16][4];
#pragma unroll
      for (int step = 0; step < CHUNK / 16; ++step) {
        const int key = step * 16 + (lane & 7) + (lane >> 4) * 8;
        ptx::ldmatrix_x4_trans(a[step], reinterpret_cast<const uint4*>(v_tile + key * 128 + (((warp * 2 + ((lane >> 3) & 1)) ^ (key & 7)) * 16)));
        const float2 low = *reinterpret_cast<const float2*>(left + step * 16 + t * 2);
        const float2 high = *reinterpret_cast<const float2*>(left + step * 16 + t * 2 + 8);
        a[step][0] = scaled(a[step][0], low.x, low.y);
        a[step][1] = scaled(a[step][1], low.x, low.y);
        a[step][2] = scaled(a[step][2], high.x, high.y);
        a[step][3] = scaled(a[step][3], high.x, high.y);
      }
      settle(s);
      wgmma_fence();
#pragma unroll
      for (int step = 0; step < CHUNK / 16; ++step) wgmma_rs(s, a[step], descriptor(k_tile + step * 2048));
      wgmma_finish();
      settle(s);
      __syncwarp();
      if (lane == 0) barrier_arrive(&tables.empty[stage]);
    }
    if (OUT) {
      if (end == T && turn == 0) {
#pragma unroll
        for (int i = 0; i < D / 2; ++i) state[state_at + (i / 4 * 8 + t * 2 + i % 2) * D + i % 4 / 2 * 8] = s[i];
      }
    } else {
#pragma unroll
      for (int n = 0; n < D / 8; ++n) {
        part[blockIdx.z * NEXT_PIECE + n * 128] = make_float4(s[n * 4], s[n * 4 + 1], s[n * 4 + 2], s[n * 4 + 3]);
      }
    }
  } else if (OUT) {
    const int parity = group - 2;
    const int token = warp * 16 + g;  // of the chunk, and the one eight further
    const float since[2] = {tables.since[token], tables.since[token + 8]};
    const float* const decay = tables.decay + 63 + token - t * 2;
    unsigned char* const s_tile = s_tiles + parity * TILE;
    for (int own = parity; own * SPLIT + turn < chunks; own += 2) {
      const int c = own * SPLIT + turn, stage = c % STAGES, first = begin + c * CHUNK;
      const int tokens = min(CHUNK, end - first);
      unsigned char* const q_tile = base + Q_AT + stage / SPLIT * TILE;
      unsigned char* const k_tile = base + stage * KV;
      unsigned char* const v_tile = k_tile + TILE;
      float p[32], acc[32];
#pragma unroll
      for (int i = 0; i < 32; ++i) p[i] = acc[i] = 0.0f;
      barrier_wait(&tables.full[stage], (c / STAGES) & 1);
      settle(p);
      wgmma_fence();
#pragma unroll
      for (int step = 0; step < D / 16; ++step) {
        const int offset = step / 4 * HALF + step % 4 * 32;
        wgmma_ss(p, descriptor(q_tile + offset), descriptor(k_tile + offset), step != 0);
      }
      wgmma_finish();
      settle(p);
      unsigned a[CHUNK / 16][4];
#pragma unroll
      for (int n = 0; n < CHUNK / 8; ++n) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          a[n / 2][n % 2 * 2 + half] = ptx::pack_bf16(p[n * 4 + half * 2] * decay[half * 8 - n * 8],
                                                      p[n * 4 + half * 2 + 1] * decay[half * 8 - n * 8 - 1]);
        }
      }
      barrier_wait(&tables.s_full[parity], (own >> 1) & 1);
      settle(acc);
      wgmma_fence();
#pragma unroll
      for (int step = 0; step < D / 16; ++step) {
        const int offset = step / 4 * HALF + step % 4 * 32;
        wgmma_ss(acc, descriptor(q_tile + offset), descriptor(s_tile + offset), step != 0);
      }
      wgmma_finish();
      settle(acc);
      __syncwarp();
      if (lane == 0) barrier_arrive(&tables.s_empty[parity]);
#pragma unroll
      for (int i = 0; i < 32; ++i) acc[i] *= since[i % 4 / 2];
      settle(acc);
      wgmma_fence();
#pragma unroll
      for (int step = 0; step < CHUNK / 16; ++step) wgmma_rs(acc, a[step], descriptor(v_tile + step * 2048));
      wgmma_finish();
      settle(acc);
      __syncwarp();
      if (lane == 0) barrier_arrive(&tables.empty[stage]);
      // Neighbouring lanes exchange halves of two tiles, so that a row's 32 bytes leave together.
      unsigned short* const rows = o + (head * T + first) * D + blockIdx.x * COLUMNS;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int pair = 0; pair < COLUMNS / 16; ++pair) {
          const unsigned even = ptx::pack_bf16(acc[pair * 8 + half * 2], acc[pair * 8 + half * 2 + 1]);
          const unsigned odd = ptx::pack_bf16(acc[pair * 8 + 4 + half * 2], acc[pair * 8 + 4 + half * 2 + 1]);
          const unsigned other = __shfl_xor_sync(0xffffffffu, lane & 1 ? even : odd, 1);
          if (token + half * 8 < tokens) {
            unsigned short* const to = rows + (token + half * 8) * D + pair * 16;
            *reinterpret_cast<uint2*>(to + (lane & 1) * 8 + (t >> 1) * 4) = lane & 1 ? make_uint2(other, odd) : make_uint2(even, other);
          }
        }
      }
    }
  }
}

__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

/// Waits until at most N committed groups still run.
template <int N>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

constexpr int ITEM_STAGES = 4;

struct ItemTables {
  unsigned long long full[ITEM_STAGES], empty[ITEM_STAGES], s_full[2], s_empty[2];
  float left[2][CHUNK], decay[2][2 * CHUNK];  // decay[output group][63 + distance]
};

/// Stores a box of the outputs; what lies beyond the tensor is left out.
__device__ __forceinline__ void store_box(const CUtensorMap* map, const void* from, int d, int token, int h, int b) {
  asm volatile(
      "cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5}], [%1];\n"
      "cp.async.bulk.commit_group;" ::"l"(reinterpret_cast<unsigned long long>(map)),
      "r"(shared_address(from)), "r"(d), "r"(token), "r"(h), "r"(b)
      : "memory");
}

/// The 128 threads of a warp group meet.
__device__ __forceinline__ void group_sync(int group) {
  __syncwarp();
  asm volatile("bar.sync %0, 128;" ::"r"(group) : "memory");
}

/// What a block works on at a time: channels of the values, a head, tokens.
template <int D>
struct Item {
  int column, head, z, begin, end, chunks;
  __device__ __forceinline__ Item(int index, int heads, int T, int span) {
    column = index % (D / 64);
    const int rest = index / (D / 64);
    z = rest / heads;
    head = rest - z * heads;
    begin = z * span;
    end = min(T, begin + span);
    chunks = (end - begin + CHUNK - 1) / CHUNK;
  }
};

/// OUT: outputs of segments of `span` tokens; otherwise only what each piece of `span` tokens adds to the state.
template <int D, bool OUT>
__global__ void __launch_bounds__(OUT ? 512 : 256, 1)
lightning_items(const __grid_constant__ CUtensorMap q_map, const __grid_constant__ CUtensorMap k_map,
                const __grid_constant__ CUtensorMap v_map, const __grid_constant__ CUtensorMap o_map,
                const float* __restrict__ slope, const float* __restrict__ s0, float* parts, float* __restrict__ state, int H,
                int T, int heads, int items, int span, int piece, int pieces, float scale) {
  constexpr int HALVES = D / 64, TILE = HALVES * HALF, STAGE = 2 * TILE + HALF;
  extern __shared__ __align__(128) unsigned char memory[];
  unsigned char* const base = memory + ((1024u - (shared_address(memory) & 1023u)) & 1023u);
  unsigned char* const s_tiles = base + ITEM_STAGES * STAGE;
  unsigned char* const o_tiles = s_tiles + 2 * TILE;  // one for each output group
  ItemTables& tables = *reinterpret_cast<ItemTables*>(o_tiles + 2 * HALF);
  const int thread = threadIdx.x % 128, group = threadIdx.x / 128, lane = thread % 32, warp = thread / 32, g = lane / 4, t = lane % 4;
  if (!OUT) asm volatile("griddepcontrol.launch_dependents;" ::: "memory");

  if (threadIdx.x == 0) {
    for (int i = 0; i < ITEM_STAGES; ++i) {
      barrier_init(&tables.full[i], 1);
      barrier_init(&tables.empty[i], OUT ? 8 : 4);
    }
    for (int i = 0; i < 2; ++i) {
      barrier_init(&tables.s_full[i], 128);
      barrier_init(&tables.s_empty[i], 4);
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  }
  if (threadIdx.x < 63) tables.decay[0][threadIdx.x] = tables.decay[1][threadIdx.x] = 0.0f;  // later tokens
  __syncthreads();

  if (group == 0) {
    if (thread == 0) {
      int stage = 0, phase = 1;
      for (int index = blockIdx.x; index < items; index += gridDim.x) {
        const Item<D> item(index, heads, T, span);
        const int b = item.head / H, h = item.head - b * H;
        if (OUT) {  // this block's share of the initial state goes into the L2 before the state group wants it
          const float* const from = s0 + (long long)item.head * D * D + item.column * (D * D / HALVES);
          asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(__cvta_generic_to_global(from)), "r"(D * D * 4 / HALVES)
                       : "memory");
        }
        for (int token = item.begin; token < item.end; token += CHUNK) {
          unsigned char* const at = base + stage * STAGE;
          unsigned long long* const barrier = &tables.full[stage];
          barrier_wait(&tables.empty[stage], phase);
          barrier_expect(barrier, OUT ? STAGE : STAGE - TILE);
#pragma unroll
          for (int half = 0; half < HALVES; ++half) {
            load_box(at + TILE + half * HALF, &k_map, barrier, half * 64, token, h, b);
            if (half == 0) load_box(at + 2 * TILE, &v_map, barrier, item.column * COLUMNS, token, h, b);
            if (OUT) load_box(at + half * HALF, &q_map, barrier, half * 64, token, h, b);
          }
          if (++stage == ITEM_STAGES) stage = 0, phase ^= 1;
        }
      }
    }
    __syncwarp();
  } else if (group == 1) {
    int stage = 0, phase = 0;
    unsigned count = 0;  // chunks so far, over all items
    for (int index = blockIdx.x; index < items; index += gridDim.x) {
      const Item<D> item(index, heads, T, span);
      const int chunks = item.chunks, last_tokens = item.end - item.begin - (chunks - 1) * CHUNK;
      const float rate = slope[item.head % H] * 1.44269504f;  // the decay is 2^-rate
      float s[D / 2];
      const long long state_at = (long long)item.head * D * D + item.column * COLUMNS + warp * 16 + g;  // and 8 further
      float4* const part = reinterpret_cast<float4*>(parts) + ((long long)item.head * pieces * HALVES + item.column) * (D / 8) * 128 + thread;
      constexpr long long NEXT_PIECE = (long long)HALVES * (D / 8) * 128;
      if (OUT) {
        const float weight = ptx::ex2(-rate * item.begin);
#pragma unroll
        for (int i = 0; i < D / 2; ++i) s[i] = weight * s0[state_at + (i / 4 * 8 + t * 2 + i % 2) * D + i % 4 / 2 * 8];
        if (item.begin > 0) {
          asm volatile("griddepcontrol.wait;" ::: "memory");  // the pieces come from the launch before
          for (int i = 0; i < item.begin / piece; ++i) {
            const float left = ptx::ex2(-rate * (item.begin - (i + 1) * piece));
#pragma unroll
            for (int n = 0; n < D / 8; ++n) {
              const float4 x = part[i * NEXT_PIECE + n * 128];
              s[n * 4] += left * x.x, s[n * 4 + 1] += left * x.y, s[n * 4 + 2] += left * x.z, s[n * 4 + 3] += left * x.w;
            }
          }
        }
      } else {
#pragma unroll
        for (int i = 0; i < D / 2; ++i) s[i] = 0.0f;
      }
      group_sync(1);  // nobody reads the weights of the last item any more
      if (thread < CHUNK) {
        tables.left[0][thread] = ptx::ex2(-rate * (CHUNK - 1 - thread));
        tables.left[1][thread] = ptx::ex2(-rate * max(last_tokens - 1 - thread, 0));  // tokens beyond the last are zero
      }
      group_sync(1);
      for (int c = 0; c < chunks; ++c, ++count) {
        const bool is_last = c + 1 == chunks;
        unsigned char* const k_tile = base + stage * STAGE + TILE;
        unsigned char* const v_tile = base + stage * STAGE + 2 * TILE;
        if (OUT) {  // the state before this chunk
          barrier_wait(&tables.s_empty[count & 1], ((count >> 1) & 1) ^ 1);
          unsigned char* const to = s_tiles + (count & 1) * TILE;
#pragma unroll
          for (int n = 0; n < D / 8; ++n) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
              const int row = warp * 16 + g + half * 8;
              *reinterpret_cast<unsigned*>(to + n / 8 * HALF + row * 128 + ((n % 8) ^ (row & 7)) * 16 + t * 4) =
                  ptx::pack_bf16(s[n * 4 + half * 2], s[n * 4 + half * 2 + 1]);
            }
          }
          asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
          barrier_arrive(&tables.s_full[count & 1]);
        }
        const float whole = ptx::ex2(-rate * (is_last ? last_tokens : CHUNK));
#pragma unroll
        for (int i = 0; i < D / 2; ++i) s[i] *= whole;
        barrier_wait(&tables.full[stage], phase);
        const float* const left = tables.left[is_last ? 1 : 0];
        unsigned a[CHUNK / 16][4];
#pragma unroll
        for (int step = 0; step < CHUNK / 16; ++step) {
          const int key = step * 16 + (lane & 7) + (lane >> 4) * 8;
          ptx::ldmatrix_x4_trans(a[step], reinterpret_cast<const uint4*>(v_tile + key * 128 + (((warp * 2 + ((lane >> 3) & 1)) ^ (key & 7)) * 16)));
          const float2 low = *reinterpret_cast<const float2*>(left + step * 16 + t * 2);
          const float2 high = *reinterpret_cast<const float2*>(left + step * 16 + t * 2 + 8);
          a[step][0] = scaled(a[step][0], low.x, low.y);
          a[step][1] = scaled(a[step][1], low.x, low.y);
          a[step][2] = scaled(a[step][2], high.x, high.y);
          a[step][3] = scaled(a[step][3], high.x, high.y);
        }
        settle(s);
        wgmma_fence();
#pragma unroll
        for (int step = 0; step < CHUNK / 16; ++step) wgmma_rs(s, a[step], descriptor(k_tile + step * 2048));
        wgmma_finish();
        settle(s);
        __syncwarp();
        if (lane == 0) barrier_arrive(&tables.empty[stage]);
        if (++stage == ITEM_STAGES) stage = 0, phase ^= 1;
      }
      if (OUT) {
        if (item.end == T) {
#pragma unroll
          for (int i = 0; i < D / 2; ++i) state[state_at + (i / 4 * 8 + t * 2 + i % 2) * D + i % 4 / 2 * 8] = s[i];
        }
      } else {
#pragma unroll
        for (int n = 0; n < D / 8; ++n) {
          part[item.z * NEXT_PIECE + n * 128] = make_float4(s[n * 4], s[n * 4 + 1], s[n * 4 + 2], s[n * 4 + 3]);
        }
      }
    }
  } else if (OUT) {
    const int parity = group - 2;
    const int token = warp * 16 + g;  // of the chunk, and the one eight further
    const float* const decay = tables.decay[parity] + 63 + token - t * 2;
    unsigned char* const s_tile = s_tiles + parity * TILE;
    unsigned char* const o_tile = o_tiles + parity * HALF + warp * 2048;  // this warp's 16 tokens
    unsigned before = 0;  // chunks of the items before this one
    for (int index = blockIdx.x; index < items; index += gridDim.x) {
      const Item<D> item(index, heads, T, span);
      const int b = item.head / H, h = item.head - b * H;
      const float rate = slope[h] * 1.44269504f;  // the decay is 2^-rate
      const float since[2] = {ptx::ex2(-rate * (token + 1)) * scale, ptx::ex2(-rate * (token + 9)) * scale};
      group_sync(group);  // nobody reads the decays of the last item any more
      if (thread < CHUNK) tables.decay[parity][63 + thread] = ptx::ex2(-rate * thread) * scale;
      group_sync(group);
      for (int c = (int)((before + parity) & 1); c < item.chunks; c += 2) {
        const unsigned count = before + c, stage = count % ITEM_STAGES;
        const int first = item.begin + c * CHUNK + warp * 16;  // of this warp's tokens
        unsigned char* const q_tile = base + stage * STAGE;
        unsigned char* const k_tile = q_tile + TILE;
        unsigned char* const v_tile = q_tile + 2 * TILE;
        float p[32], acc[32];
#pragma unroll
        for (int i = 0; i < 32; ++i) p[i] = acc[i] = 0.0f;
        barrier_wait(&tables.full[stage], (count / ITEM_STAGES) & 1);
        settle(p);
        settle(acc);
        wgmma_fence();
#pragma unroll
        for (int step = 0; step < D / 16; ++step) {
          const int offset = step / 4 * HALF + step % 4 * 32;
          wgmma_ss(p, descriptor(q_tile + offset), descriptor(k_tile + offset), step != 0);
        }
        wgmma_commit();
        barrier_wait(&tables.s_full[parity], (count >> 1) & 1);
#pragma unroll
        for (int step = 0; step < D / 16; ++step) {
          const int offset = step / 4 * HALF + step % 4 * 32;
          wgmma_ss(acc, descriptor(q_tile + offset), descriptor(s_tile + offset), step != 0);
        }
        wgmma_commit();
        wgmma_wait<1>();  // Q K^T is here, Q S runs on
        settle(p);
        unsigned a[CHUNK / 16][4];
#pragma unroll
        for (int n = 0; n < CHUNK / 8; ++n) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            a[n / 2][n % 2 * 2 + half] = ptx::pack_bf16(p[n * 4 + half * 2] * decay[half * 8 - n * 8],
                                                        p[n * 4 + half * 2 + 1] * decay[half * 8 - n * 8 - 1]);
          }
        }
        wgmma_wait<0>();
        settle(acc);
        __syncwarp();
        if (lane == 0) barrier_arrive(&tables.s_empty[parity]);
#pragma unroll
        for (int i = 0; i < 32; ++i) acc[i] *= since[i % 4 / 2];
        settle(acc);
        wgmma_fence();
#pragma unroll
        for (int step = 0; step < CHUNK / 16; ++step) wgmma_rs(acc, a[step], descriptor(v_tile + step * 2048));
        wgmma_finish();
        settle(acc);
        __syncwarp();
        if (lane == 0) {
          barrier_arrive(&tables.empty[stage]);
          asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");  // the last store has read its tile
        }
        __syncwarp();
#pragma unroll
        for (int n = 0; n < COLUMNS / 8; ++n) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            *reinterpret_cast<unsigned*>(o_tile + (g + half * 8) * 128 + (n ^ g) * 16 + t * 4) =
                ptx::pack_bf16(acc[n * 4 + half * 2], acc[n * 4 + half * 2 + 1]);
          }
        }
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        __syncwarp();
        // Segments end at multiples of chunks or at T, where the tensor ends.
        if (lane == 0 && first < T) store_box(&o_map, o_tile, item.column * COLUMNS, first, h, b);
      }
      before += item.chunks;
    }
    if (lane == 0) asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
    __syncwarp();
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == 64 || p.D == 128, "D must be 64 or 128")) return;
  const int blocks = p.B * p.H * (p.D / COLUMNS), unit = CHUNK * PIECES;
  int segments = 1;
  const int room = (int)(p.device.sms / blocks);  // SMs for each block
  const bool split = p.T >= 1024 && room >= 2 && room < 4;
  if (!split && p.T >= 4096 && (long long)blocks * 100 < (long long)p.device.sms * FILL_PERCENT) {
    segments = kl::clamp((int)(p.device.sms / blocks), 1, 4);
  }
  const int wanted = (p.T + segments - 1) / segments;
  const int span = (wanted + unit - 1) / unit * unit, piece = span / PIECES;
  segments = (p.T + span - 1) / span;
  const int pieces = segments > 1 ? (segments - 1) * PIECES : 1;
  auto parts = plan.workspace(kl::f32, (long long)p.B * p.H * pieces * p.D * p.D);
  auto q_map = plan.tensor_map(p.q, {3, 2, 1, 0}, {64, 64, 1, 1}, kl::swizzle_128);
  auto k_map = plan.tensor_map(p.k, {3, 2, 1, 0}, {64, 64, 1, 1}, kl::swizzle_128);
  auto v_map = plan.tensor_map(p.v, {3, 2, 1, 0}, {64, 64, 1, 1}, kl::swizzle_128);
  const long long tile = (long long)(p.D / 64) * HALF;
  const long long bytes = 1024 + 4 * (2 * tile + HALF) + 2 * tile + (long long)sizeof(Tables);
  if (split) {
    const long long split_bytes = 1024 + 6 * (tile + HALF) + 3 * tile + 2 * tile + (long long)sizeof(Tables);
    plan.launch(p.D == 128 ? "lightning_wgmma<128, true, 2>" : "lightning_wgmma<64, true, 2>").grid(p.D / COLUMNS, p.B * p.H, 2)
        .block(512).shared(split_bytes).arg(q_map).arg(k_map).arg(v_map).arg(p.slope).arg(p.s0).arg(parts).arg(p.o).arg(p.state)
        .arg(p.H).arg(p.T).arg(span).arg(piece).arg(pieces).arg(p.scale);
    return;
  }
  if (segments == 1) {  // enough blocks, or too few tokens to cut: persistent blocks, one launch
    const int heads = (int)(p.B * p.H), sms = (int)p.device.sms, grid = blocks < sms ? blocks : sms;
    auto o_map = plan.tensor_map(p.o, {3, 2, 1, 0}, {64, 16, 1, 1}, kl::swizzle_128);
    const long long item_bytes = 1024 + ITEM_STAGES * (2 * tile + HALF) + 2 * tile + 2 * HALF + (long long)sizeof(ItemTables);
    plan.launch(p.D == 128 ? "lightning_items<128, true>" : "lightning_items<64, true>").grid(grid, 1, 1)
        .block(512).shared(item_bytes).arg(q_map).arg(k_map).arg(v_map).arg(o_map).arg(p.slope).arg(p.s0).arg(parts)
        .arg(p.state).arg(p.H).arg(p.T).arg(heads).arg(blocks).arg(span).arg(piece).arg(pieces).arg(p.scale);
    return;
  }
  if (segments > 1) {
    plan.launch(p.D == 128 ? "lightning_wgmma<128, false, 1>" : "lightning_wgmma<64, false, 1>").grid(p.D / COLUMNS, p.B * p.H, pieces)
        .block(256).shared(bytes).arg(q_map).arg(k_map).arg(v_map).arg(p.slope).arg(p.s0).arg(parts).arg(p.o).arg(p.state)
        .arg(p.H).arg(p.T).arg(piece).arg(piece).arg(pieces).arg(p.scale);
  }
  plan.launch(p.D == 128 ? "lightning_wgmma<128, true, 1>" : "lightning_wgmma<64, true, 1>").grid(p.D / COLUMNS, p.B * p.H, segments)
      .block(512).shared(bytes).arg(q_map).arg(k_map).arg(v_map).arg(p.slope).arg(p.s0).arg(parts).arg(p.o).arg(p.state)
      .arg(p.H).arg(p.T).arg(span).arg(piece).arg(pieces).arg(p.scale);
}
