// SPDX-License-Identifier: Apache-2.0
// mLSTM in chunks on wgmma: q, k [B, NH, S, DK], v [B, NH, S, DV] (bf16) with gates, outputs h and the final state.
//
// Technique: two small launches scan the gates, in double (one for each chunk's own, one for what chunks hand on). Then a
// block takes one head and 128 channels of its values and walks the sequence in chunks of 64 tokens. Warpgroups:
//   0, 1  state: C^T (64 value channels by DK, f32) stays in registers. Packed to bf16 it is the A operand of C^T Q^T, so that
//         the memory never passes through shared memory; then C^T = keep * C^T + (w V)^T K, half the tokens while the first product
//         still runs, and H^T = since * (C^T Q^T) + V^T P^T behind it. Outputs are stored during the next chunk's first product
//   2     scores P: Q K^T with gates as weights, denominators and the normaliser n, a chunk ahead of the states. n is three more
//         rows of K (a third of its bits each), so that one product gives n . q too; it grows by K^T w, w in thirds as well,
//         on mma.sync (as a product of the warpgroup it stood behind those of the others)
//   3     two threads fetch tiles by TMA (rings of one to three chunks)
// Where heads are too few for the device, blocks take segments of the sequence: a launch before sums up what pieces of
// the earlier ones add to the state, all at once. Runs on sm_90.
//
// Ladder:
//   naive.cu         token after token, two barriers each
//   chunked_mma.cu   64 tokens a step on mma.sync, memory in registers
//   this file        wgmma, TMA and roles
//   left to do       a prompt alone reads three quarters of its keys and values twice. Slower were: the normaliser by multiply and
//                    add, in warps of its own or beside the scores (it took longer than a chunk); later tiles brought into the L2
//                    (6 %); programmatic launches (4 %). Too coarse: weights of the update in units of a memory that does not
//                    decay, which round tokens that weigh one

// tune: SEGMENTS_MAX = 4 | 1 | 2
// tune: PARTS_MAX = 1 | 2 | 4

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int CHUNK = 64, GROUPS = 2, COLUMNS = 64 * GROUPS, THREADS = 128 * (GROUPS + 2);
constexpr int PANEL = 64 * 128, K_PANEL = 72 * 128;  // 64 channels of a tile; the keys' has eight rows more
constexpr int RECORD = 5 * CHUNK;                    // floats: a, M, since, 2^-m, weight
constexpr int M_AT = CHUNK, SINCE_AT = 2 * CHUNK, FLOOR_AT = 3 * CHUNK, WEIGHT_AT = 4 * CHUNK;
constexpr double LOG2E = 1.4426950408889634;

/// A chunk's gates by themselves, two tokens a lane, in base-2 units: b, the running sum of the log-sigmoids, a = igate - b,
/// and a's running maximum. In double: where gates close, sums reach hundreds, and a float's rounding would show.
struct Scan {
  double b[2], a[2], top[2];
};

__device__ __forceinline__ Scan scan_gates(const float* igate, const float* fgate, int lane, int tokens) {
  double in[2], forget[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const bool is_there = 2 * lane + i < tokens;
    const float x = is_there ? fgate[2 * lane + i] : 0.0f;
    forget[i] = is_there ? (fminf(x, 0.0f) - log1pf(expf(-fabsf(x)))) * LOG2E : 0.0;
    in[i] = is_there ? igate[2 * lane + i] * LOG2E : -INFINITY;
  }
  double sum = forget[0] + forget[1];
  for (int step = 1; step < 32; step *= 2) {
    const double other = __shfl_up_sync(0xffffffffu, sum, step);
    if (lane >= step) sum += other;
  }
  Scan scan;
  scan.b[0] = sum - forget[1], scan.b[1] = sum;
  scan.a[0] = in[0] - scan.b[0], scan.a[1] = in[1] - scan.b[1];
  double largest = fmax(scan.a[0], scan.a[1]);
  for (int step = 1; step < 32; step *= 2) {
    const double other = __shfl_up_sync(0xffffffffu, largest, step);
    if (lane >= step) largest = fmax(largest, other);
  }
  const double before = __shfl_up_sync(0xffffffffu, largest, 1);
  scan.top[0] = lane > 0 ? fmax(before, scan.a[0]) : scan.a[0];
  scan.top[1] = largest;
  return scan;
}

/// Of every chunk by itself: the sum of its log-sigmoids and its largest a.
__global__ void __launch_bounds__(256)
mlstm_sums(const float* __restrict__ igate, const float* __restrict__ fgate, double2* __restrict__ sums, int S, int chunks) {
  const int lane = threadIdx.x % 32, chunk = blockIdx.x * 8 + threadIdx.x / 32;
  if (chunk >= chunks) return;
  const long long at = (long long)blockIdx.y * S + chunk * CHUNK;
  const Scan scan = scan_gates(igate + at, fgate + at, lane, min(CHUNK, S - chunk * CHUNK));
  if (lane == 31) sums[(long long)blockIdx.y * chunks + chunk] = make_double2(scan.b[1], scan.top[1]);
}

/// A record for every chunk, its M before in `starts` (with gates summed from the sequence's begin), and the last m.
__global__ void __launch_bounds__(256)
mlstm_gates(const float* __restrict__ igate, const float* __restrict__ fgate, const float* __restrict__ m0,
            const double2* __restrict__ sums, float* __restrict__ records, double* __restrict__ starts, float* __restrict__ m_out,
            int S, int chunks) {
  const int lane = threadIdx.x % 32, chunk = blockIdx.x * 8 + threadIdx.x / 32;
  if (chunk >= chunks) return;
  const long long head = blockIdx.y, at = head * S + chunk * CHUNK;
  const Scan scan = scan_gates(igate + at, fgate + at, lane, min(CHUNK, S - chunk * CHUNK));
  double sum = 0, top = -INFINITY;  // of this lane's share of the chunks before
  const int share = (chunk + 31) / 32;
  for (int i = lane * share; i < min((lane + 1) * share, chunk); ++i) {
    const double2 one = sums[head * chunks + i];
    top = fmax(top, one.y - sum);
    sum += one.x;
  }
  for (int step = 1; step < 32; step *= 2) {
    const double next_sum = __shfl_down_sync(0xffffffffu, sum, step), next_top = __shfl_down_sync(0xffffffffu, top, step);
    top = fmax(top, next_top - sum);
    sum += next_sum;
  }
  sum = __shfl_sync(0xffffffffu, sum, 0);
  const double start = fmax(__shfl_sync(0xffffffffu, top, 0), m0[head] * LOG2E), before = start + sum;
  const double last_top = fmax(before, __shfl_sync(0xffffffffu, scan.top[1], 31));
  float* const record = records + (head * chunks + chunk) * RECORD;
  double m = 0;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int token = 2 * lane + i;
    const double tokens_top = fmax(before, scan.top[i]);
    m = scan.b[i] + tokens_top;
    record[token] = (float)(scan.a[i] - before);  // both from the state before: small where their difference counts
    record[M_AT + token] = (float)(tokens_top - before);
    record[SINCE_AT + token] = ptx::ex2((float)(before - tokens_top));
    record[FLOOR_AT + token] = ptx::ex2((float)-m);
    record[WEIGHT_AT + token] = ptx::ex2((float)(scan.a[i] - last_top));
  }
  if (lane == 0) starts[head * chunks + chunk] = start;
  if (lane == 31 && chunk == chunks - 1) m_out[head] = (float)(m / LOG2E);
}

/// d (64 x 72) = or += A B^T, both in shared memory with the summed index innermost.
__device__ __forceinline__ void wgmma_scores(float (&d)[36], unsigned long long a, unsigned long long b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %38, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n72k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, "
      "%18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35}, "
      "%36, %37, p, 1, 1, 0, 0;\n}\n"
      :
        "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
        "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35])
      : "l"(a), "l"(b), "r"(accumulate));
}

/// Stores four 8x8 matrices, transposed.
__device__ __forceinline__ void stmatrix_x4_trans(void* row, unsigned a, unsigned b, unsigned c, unsigned d) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(ptx::smem_address(row)), "r"(a),
               "r"(b), "r"(c), "r"(d)
               : "memory");
}

/// The descriptor of what lies `bytes` further in the same tile.
__device__ __forceinline__ unsigned long long further(unsigned long long descriptor, unsigned bytes) {
  return (descriptor & 0xffffffff00000000ull) | (unsigned)((unsigned)descriptor + (bytes >> 4));
}

/// Keeps the compiler from reading accumulators before the wait.
template <int N>
__device__ __forceinline__ void settle(float (&d)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

/// Keeps operands in their registers until here.
__device__ __forceinline__ void keep_until_here(const unsigned (&a)[4]) {
  asm volatile("" ::"r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]) : "memory");
}
template <int N>
__device__ __forceinline__ void keep_until_here(const unsigned (&a)[N][4]) {
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" ::"r"(a[i][0]), "r"(a[i][1]), "r"(a[i][2]), "r"(a[i][3]) : "memory");
}

__device__ __forceinline__ unsigned scaled(unsigned pair, float low, float high) {
  return ptx::pack_bf16(ptx::low_bf16(pair) * low, ptx::high_bf16(pair) * high);
}

/// OUT: with queries, weights and outputs; otherwise there is room for more keys and values.
template <int DK, bool OUT>
struct Layout {
  static constexpr int PANELS = DK / 64, Q = PANELS * PANEL, K = PANELS * K_PANEL, V = GROUPS * PANEL;
  static constexpr int K_STAGES = OUT ? 3 : 4, V_STAGES = OUT ? 1 : 4;
  unsigned char k[K_STAGES][K], v[V_STAGES][V], q[2][OUT ? Q : 1024], p[2][OUT ? PANEL : 1024], h[GROUPS][OUT ? PANEL : 1024];
  float gates[K_STAGES][RECORD];
  float by[2][CHUNK];  // of each token: the factor of what the state before the chunk gives
  uint64_t k_full[K_STAGES], k_empty[K_STAGES], v_full[V_STAGES], v_empty[V_STAGES];
  uint64_t q_full[2], q_empty[2], p_full[2], p_empty[2];
};

/// OUT: outputs of segments of `span` chunks; otherwise only what each piece of `span` chunks adds to the state.
template <int DK, bool OUT>
__global__ void __launch_bounds__(THREADS, 1)
mlstm_wgmma(const __grid_constant__ CUtensorMap q_map, const __grid_constant__ CUtensorMap k_map,
            const __grid_constant__ CUtensorMap v_map, const __grid_constant__ CUtensorMap h_map,
            const float* __restrict__ records, const double* __restrict__ starts, const float* __restrict__ c0,
            const float* __restrict__ n0, const float* __restrict__ m0, float* __restrict__ c_parts, float* __restrict__ n_parts,
            float* __restrict__ c_out, float* __restrict__ n_out, int DV, int chunks, int span, int piece, int pieces, float scale,
            float eps) {
  constexpr int PANELS = DK / 64;
  extern __shared__ __align__(128) unsigned char memory[];
  constexpr int K_STAGES = Layout<DK, OUT>::K_STAGES, V_STAGES = Layout<DK, OUT>::V_STAGES;
  Layout<DK, OUT>& shared = *reinterpret_cast<Layout<DK, OUT>*>(memory + ((1024u - (ptx::smem_address(memory) & 1023u)) & 1023u));
  const int thread = threadIdx.x % 128, group = threadIdx.x / 128, lane = thread % 32, warp = thread / 32, g = lane / 4, t = lane % 4;
  const int head = blockIdx.y, begin = (int)blockIdx.z * span, end = min(begin + span, chunks);

  if (threadIdx.x == 0) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      ptx::mbarrier_init(&shared.q_full[i], 1);
      ptx::mbarrier_init(&shared.p_full[i], 4);
      ptx::mbarrier_init(&shared.q_empty[i], 4 * GROUPS + 4);
      ptx::mbarrier_init(&shared.p_empty[i], 4 * GROUPS);
    }
#pragma unroll
    for (int i = 0; i < K_STAGES; ++i) {
      ptx::mbarrier_init(&shared.k_full[i], 1);
      ptx::mbarrier_init(&shared.k_empty[i], 4 * GROUPS + 4);
    }
#pragma unroll
    for (int i = 0; i < V_STAGES; ++i) {
      ptx::mbarrier_init(&shared.v_full[i], 1);
      ptx::mbarrier_init(&shared.v_empty[i], 4 * GROUPS);
    }
    ptx::fence_mbarrier_init();
  }
  if (OUT) {  // the keys' further rows: three will be the normaliser, the others are zero
    for (int i = threadIdx.x; i < K_STAGES * PANELS * 64; i += THREADS) {
      reinterpret_cast<uint4*>(shared.k[i / (PANELS * 64)] + i / 64 % PANELS * K_PANEL + PANEL)[i % 64] = make_uint4(0, 0, 0, 0);
    }
    ptx::fence_proxy_async();
  }
  __syncthreads();

  if (group == GROUPS + 1) {
    ptx::register_decrease<24>();
    // A warp for each tensor, so that none waits for room that another one lacks.
    if (warp == 0 && lane == 0) {
      int stage = 0, phase = 1;
      for (int chunk = begin; chunk < end; ++chunk) {
        ptx::mbarrier_wait(&shared.k_empty[stage], phase);
        ptx::mbarrier_arrive_expect(&shared.k_full[stage], PANELS * PANEL + RECORD * 4);
        ptx::bulk_load(shared.gates[stage], records + ((long long)head * chunks + chunk) * RECORD, RECORD * 4, &shared.k_full[stage]);
#pragma unroll
        for (int i = 0; i < PANELS; ++i) {
          ptx::tma_load_3d(shared.k[stage] + i * K_PANEL, &k_map, &shared.k_full[stage], i * 64, chunk * CHUNK, head);
        }
        if (++stage == K_STAGES) stage = 0, phase ^= 1;
      }
    } else if (OUT && warp == 1 && lane == 0) {  // queries two chunks ahead, values one: in the order in which room falls free
      const auto load_queries = [&](int chunk) {
        const int count = chunk - begin, stage = count & 1;
        if (chunk >= end) return;
        ptx::mbarrier_wait(&shared.q_empty[stage], ((count >> 1) & 1) ^ 1);
        ptx::mbarrier_arrive_expect(&shared.q_full[stage], Layout<DK, OUT>::Q);
#pragma unroll
        for (int i = 0; i < PANELS; ++i) {
          ptx::tma_load_3d(shared.q[stage] + i * PANEL, &q_map, &shared.q_full[stage], i * 64, chunk * CHUNK, head);
        }
      };
      load_queries(begin);
      for (int chunk = begin; chunk < end; ++chunk) {
        load_queries(chunk + 1);
        ptx::mbarrier_wait(&shared.v_empty[0], ((chunk - begin) & 1) ^ 1);
        ptx::mbarrier_arrive_expect(&shared.v_full[0], Layout<DK, OUT>::V);
#pragma unroll
        for (int i = 0; i < GROUPS; ++i) {
          ptx::tma_load_3d(shared.v[0] + i * PANEL, &v_map, &shared.v_full[0], blockIdx.x * COLUMNS + i * 64, chunk * CHUNK, head);
        }
      }
    } else if (!OUT && warp == 1 && lane == 0) {
      int stage = 0, phase = 1;
      for (int chunk = begin; chunk < end; ++chunk) {
        ptx::mbarrier_wait(&shared.v_empty[stage], phase);
        ptx::mbarrier_arrive_expect(&shared.v_full[stage], Layout<DK, OUT>::V);
#pragma unroll
        for (int i = 0; i < GROUPS; ++i) {
          ptx::tma_load_3d(shared.v[stage] + i * PANEL, &v_map, &shared.v_full[stage], blockIdx.x * COLUMNS + i * 64, chunk * CHUNK, head);
        }
        if (++stage == V_STAGES) stage = 0, phase ^= 1;
      }
    }
  } else if (group == GROUPS) {
    ptx::register_decrease<72>();
    if (OUT) {
      // The normaliser: of channels 64 (t mod PANELS) + 16 warp + g, and 8 further.
      float normaliser[2];
      const int channel = t % PANELS * 64 + warp * 16 + g;
      {
        const double start = starts[(long long)head * chunks + begin];
        const float left = ptx::ex2((float)(m0[head] * LOG2E - start));
#pragma unroll
        for (int i = 0; i < 2; ++i) normaliser[i] = left * n0[(long long)head * DK + channel + i * 8];
        for (int j = 0; j < begin / piece; ++j) {
          const float by = ptx::ex2((float)(starts[(long long)head * chunks + (j + 1) * piece] - start));
#pragma unroll
          for (int i = 0; i < 2; ++i) normaliser[i] = fmaf(by, n_parts[((long long)head * pieces + j) * DK + channel + i * 8], normaliser[i]);
        }
      }
      int k_stage = 0, k_phase = 0;
      for (int chunk = begin, count = 0; chunk < end; ++chunk, ++count) {
        const int stage = count & 1, phase = (count >> 1) & 1;
        int self = threadIdx.x;
        asm volatile("" : "+r"(self));  // what is reckoned from it takes no registers from before the loop
        const int lane = self % 32, warp = self % 128 / 32, g = lane / 4, t = lane % 4;
        const auto q_rows = ptx::wgmma_descriptor(ptx::smem_address(shared.q[stage]));
        const auto k_rows = ptx::wgmma_descriptor(ptx::smem_address(shared.k[k_stage]));
        const float* const gates = shared.gates[k_stage];
        float s[36];
#pragma unroll
        for (int i = 0; i < 36; ++i) s[i] = 0.0f;
        ptx::mbarrier_wait(&shared.k_full[k_stage], k_phase);
        // Thirds of the normaliser go to the keys' further rows.
        if (t < PANELS) {
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            const int at = warp * 16 + g + i * 8;
            float rest = normaliser[i];
#pragma unroll
            for (int row = 0; row < 3; ++row) {
              const unsigned third = ptx::pack_bf16(rest, 0.0f);
              rest -= ptx::low_bf16(third);
              *reinterpret_cast<unsigned short*>(shared.k[k_stage] + t * K_PANEL + PANEL + row * 128 + ((at / 8 ^ row) * 16) + at % 8 * 2) =
                  (unsigned short)third;
            }
          }
        }
        __syncwarp();
        ptx::fence_proxy_async();
        ptx::named_barrier_sync(1, 128);
        ptx::mbarrier_wait(&shared.q_full[stage], phase);
        settle(s);
        ptx::wgmma_fence();
#pragma unroll
        for (int step = 0; step < DK / 16; ++step) {
          wgmma_scores(s, further(q_rows, step / 4 * PANEL + step % 4 * 32), further(k_rows, step / 4 * K_PANEL + step % 4 * 32), step != 0);
        }
        ptx::wgmma_commit();
        ptx::wgmma_wait<0>();
        settle(s);
        __syncwarp();
        if (lane == 0) ptx::mbarrier_arrive(&shared.q_empty[stage]);
        const int row = warp * 16 + g;  // and 8 further
        const float tops[2] = {gates[M_AT + row], gates[M_AT + row + 8]};
        float by[2] = {0.0f, 0.0f};
#pragma unroll
        for (int n = 0; n < 8; ++n) {
          if (n / 2 > warp) continue;  // later tokens
          const float2 a = *reinterpret_cast<const float2*>(gates + n * 8 + t * 2);
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            s[n * 4 + half * 2] *= ptx::ex2(a.x - tops[half]);
            s[n * 4 + half * 2 + 1] *= ptx::ex2(a.y - tops[half]);
          }
          if (n / 2 == warp) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
              if (n * 8 + i % 2 - i / 2 * 8 > row - t * 2) s[n * 4 + i] = 0.0f;
            }
          }
          by[0] += s[n * 4] + s[n * 4 + 1], by[1] += s[n * 4 + 2] + s[n * 4 + 3];
        }
        ptx::mbarrier_wait(&shared.p_empty[stage], phase ^ 1);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float since = gates[SINCE_AT + row + half * 8];
          float sum = fmaf(since, s[32 + half * 2] + s[33 + half * 2], by[half]);  // n . q: of three columns
          sum += __shfl_xor_sync(0xffffffffu, sum, 1);
          sum += __shfl_xor_sync(0xffffffffu, sum, 2);
          by[half] = __fdividef(scale, fmaxf(fabsf(scale * sum), gates[FLOOR_AT + row + half * 8]) + eps);
          if (t == 0) shared.by[stage][row + half * 8] = since * by[half];
        }
#pragma unroll
        for (int n = 0; n < 8; n += 2) {
          unsigned packed[4] = {0, 0, 0, 0};
          if (n / 2 <= warp) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
              packed[i] = ptx::pack_bf16(s[n * 4 + i * 2] * by[i & 1], s[n * 4 + i * 2 + 1] * by[i & 1]);
            }
          }
          const int to = warp * 16 + (lane & 15), at = (n + (lane >> 4)) ^ (to & 7);
          ptx::stmatrix_x4(shared.p[stage] + to * 128 + at * 16, packed);
        }
        ptx::fence_proxy_async();
        __syncwarp();
        if (lane == 0) ptx::mbarrier_arrive(&shared.p_full[stage]);
        __syncwarp();
        float added[PANELS][4] = {};
        const unsigned char* const keys = shared.k[k_stage] + (lane >> 4) * 1024 + (lane & 7) * 128 + ((warp * 2 + ((lane >> 3) & 1)) ^ (lane & 7)) * 16;
#pragma unroll
        for (int step = 0; step < 4; ++step) {
          unsigned thirds[2];  // of the weights: column g has third g
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            float2 rest = *reinterpret_cast<const float2*>(gates + WEIGHT_AT + step * 16 + i * 8 + t * 2);
            unsigned third = ptx::pack_bf16(rest.x, rest.y);
            thirds[i] = g == 0 ? third : 0;
            rest.x -= ptx::low_bf16(third), rest.y -= ptx::high_bf16(third);
            third = ptx::pack_bf16(rest.x, rest.y);
            if (g == 1) thirds[i] = third;
            rest.x -= ptx::low_bf16(third), rest.y -= ptx::high_bf16(third);
            if (g == 2) thirds[i] = ptx::pack_bf16(rest.x, rest.y);
          }
#pragma unroll
          for (int i = 0; i < PANELS; ++i) {
            unsigned of[4];
            ptx::ldmatrix_x4_trans(of, keys + i * K_PANEL + step * 2048);
            ptx::mma_bf16(added[i], of, thirds[0], thirds[1]);
          }
        }
        const float keep = gates[SINCE_AT + CHUNK - 1];
#pragma unroll
        for (int i = 0; i < PANELS * 2; ++i) {
          float sum = added[i / 2][i % 2 * 2] + added[i / 2][i % 2 * 2 + 1];  // of two of the weights' thirds at most
          sum += __shfl_xor_sync(0xffffffffu, sum, 1);
          sum += __shfl_xor_sync(0xffffffffu, sum, 2);
          if (i / 2 == t % PANELS) normaliser[i % 2] = fmaf(keep, normaliser[i % 2], sum);
        }
        __syncwarp();
        if (lane == 0) ptx::mbarrier_arrive(&shared.k_empty[k_stage]);
        if (++k_stage == K_STAGES) k_stage = 0, k_phase ^= 1;
      }
      if (t < PANELS && blockIdx.x == 0 && end == chunks) {
#pragma unroll
        for (int i = 0; i < 2; ++i) n_out[(long long)head * DK + channel + i * 8] = normaliser[i];
      }
    } else {
      // The normaliser: a thread has two of its channels.
      const bool has_channels = thread < DK / 2 && blockIdx.x == 0;
      const int panel = thread / 32 * K_PANEL, chunk16 = lane / 4 * 16;  // where they are in a row of keys
      float n[2] = {0.0f, 0.0f};
      const auto add_chunk = [&](const unsigned char* keys, const float* gates) {
        const float keep = gates[SINCE_AT + CHUNK - 1];
        n[0] *= keep, n[1] *= keep;
#pragma unroll
        for (int i = 0; i < CHUNK; i += 4) {
          const float4 weights = *reinterpret_cast<const float4*>(gates + WEIGHT_AT + i);
          const float weight[4] = {weights.x, weights.y, weights.z, weights.w};
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            const unsigned pair = *reinterpret_cast<const unsigned*>(keys + panel + t * 4 + (i + j) * 128 + (chunk16 ^ ((i + j) % 8 * 16)));
            n[0] = fmaf(weight[j], ptx::low_bf16(pair), n[0]);
            n[1] = fmaf(weight[j], ptx::high_bf16(pair), n[1]);
          }
        }
      };
      int stage = 0, phase = 0;
      for (int chunk = begin; chunk < end; ++chunk) {
        ptx::mbarrier_wait(&shared.k_full[stage], phase);
        if (has_channels) add_chunk(shared.k[stage], shared.gates[stage]);
        __syncwarp();
        if (lane == 0) ptx::mbarrier_arrive(&shared.k_empty[stage]);
        if (++stage == K_STAGES) stage = 0, phase ^= 1;
      }
      if (has_channels) reinterpret_cast<float2*>(n_parts + ((long long)head * pieces + blockIdx.z) * DK)[thread] = make_float2(n[0], n[1]);
    }
  } else {
    ptx::register_increase<208>();
    const int columns = blockIdx.x * COLUMNS + group * 64;
    const bool is_there = columns < DV;  // otherwise values are zero, and nothing is written
    const long long memory_at = (long long)head * DK * DV + columns + warp * 16 + g;  // and 8 further
    constexpr int TILES = DK / 8;
    float4* const part = reinterpret_cast<float4*>(c_parts) + thread +
                         (((long long)head * pieces * gridDim.x + blockIdx.x) * GROUPS + group) * TILES * 128;
    const long long next_part = (long long)gridDim.x * GROUPS * TILES * 128;
    constexpr int WIDTH = DK == 64 ? 32 : 64;  // of an instruction's accumulators
    float c[DK / 2 / WIDTH][WIDTH];
    const auto at = [&](int i) -> float& { return c[i / WIDTH][i % WIDTH]; };
#pragma unroll
    for (int i = 0; i < DK / 2; ++i) at(i) = 0.0f;
    if (OUT && is_there) {
      const double start = starts[(long long)head * chunks + begin];
      const float left = ptx::ex2((float)(m0[head] * LOG2E - start));
#pragma unroll
      for (int i = 0; i < DK / 2; ++i) at(i) = left * c0[memory_at + (long long)(i / 4 * 8 + t * 2 + i % 2) * DV + i % 4 / 2 * 8];
      for (int i = 0; i < begin / piece; ++i) {
        const float by = ptx::ex2((float)(starts[(long long)head * chunks + (i + 1) * piece] - start));
#pragma unroll
        for (int n = 0; n < TILES; ++n) {
          const float4 x = part[i * next_part + n * 128];
          const float of[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
          for (int e = 0; e < 4; ++e) at(n * 4 + e) = fmaf(by, of[e], at(n * 4 + e));
        }
      }
    }
    unsigned out[OUT ? 16 : 1];  // outputs of the chunk before
    const int h_row = (lane >> 4) * 1024 + (lane & 7) * 128 + ((warp * 2 + ((lane >> 3) & 1)) ^ (lane & 7)) * 16;
    unsigned char* const h_tile = shared.h[group] + h_row;
    const auto stage_out = [&] {
      if (thread == 0) ptx::tma_store_wait_read<0>();
      __syncwarp();
      ptx::named_barrier_sync(2 + group, 128);  // the last store has read its tile
#pragma unroll
      for (int n = 0; n < 8; n += 2) {
        stmatrix_x4_trans(h_tile + n * 1024, out[n * 2], out[n * 2 + 1], out[n * 2 + 2], out[n * 2 + 3]);
      }
      ptx::fence_proxy_async();
    };
    const auto send_out = [&](int chunk) {
      ptx::named_barrier_sync(2 + group, 128);
      if (thread == 0 && is_there) {
        ptx::tma_store_3d(&h_map, shared.h[group], columns, chunk * CHUNK, head);
        ptx::tma_store_commit();
      }
      __syncwarp();
    };
    int k_stage = 0, k_phase = 0, v_stage = 0, v_phase = 0;
    for (int chunk = begin, count = 0; chunk < end; ++chunk, ++count) {
      const int stage = count & 1, phase = (count >> 1) & 1;
      const float* const gates = shared.gates[k_stage];
      ptx::mbarrier_wait(&shared.k_full[k_stage], k_phase);
      const float keep = gates[SINCE_AT + CHUNK - 1];
      float h[32];
      unsigned a[4][4];
      const auto pack = [&](int i) {  // eight columns of C^T as operands, and what is kept of them
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          float& low = at(i * 8 + j * 2);
          float& high = at(i * 8 + j * 2 + 1);
          if (OUT) a[i % 4][j] = ptx::pack_bf16(low, high);
          low *= keep, high *= keep;
        }
      };
      if (OUT) {
#pragma unroll
        for (int i = 0; i < 32; ++i) h[i] = 0.0f;
#pragma unroll
        for (int i = 0; i < 4; ++i) pack(i);
        ptx::mbarrier_wait(&shared.q_full[stage], phase);
        const auto q_rows = ptx::wgmma_descriptor(ptx::smem_address(shared.q[stage]));
        settle(h);
#pragma unroll
        for (int i = 0; i < DK / 16; ++i) {
          if (i >= 4) {
            ptx::wgmma_wait<3>();
            keep_until_here(a[i % 4]);
            pack(i);
          }
          ptx::wgmma_fence();
          ptx::wgmma_bf16_rs(h, a[i % 4], further(q_rows, i / 4 * PANEL + i % 4 * 32), i > 0);
          ptx::wgmma_commit();
          if (i == 3 && count > 0) stage_out();
          if (i == (DK == 64 ? 3 : 9) && count > 0) send_out(chunk - 1);
        }
      } else {
#pragma unroll
        for (int i = 0; i < DK / 16; ++i) pack(i);
      }
      ptx::mbarrier_wait(&shared.v_full[v_stage], v_phase);
      unsigned weighted[4][4];
      const unsigned v_tile = ptx::smem_address(shared.v[v_stage] + group * PANEL);
      const auto k_rows = ptx::wgmma_descriptor(ptx::smem_address(shared.k[k_stage]), K_PANEL);
      // Half of the tokens' share in the memory.
      const auto update = [&](int half) {
#pragma unroll
        for (int step = half * 2; step < half * 2 + 2; ++step) {
          ptx::ldmatrix_x4_trans(weighted[step], shared.v[v_stage] + group * PANEL + h_row + step * 2048);
          const float2 low = *reinterpret_cast<const float2*>(gates + WEIGHT_AT + step * 16 + t * 2);
          const float2 high = *reinterpret_cast<const float2*>(gates + WEIGHT_AT + step * 16 + t * 2 + 8);
          weighted[step][0] = scaled(weighted[step][0], low.x, low.y);
          weighted[step][1] = scaled(weighted[step][1], low.x, low.y);
          weighted[step][2] = scaled(weighted[step][2], high.x, high.y);
          weighted[step][3] = scaled(weighted[step][3], high.x, high.y);
        }
        if (half == 0) {
          for (auto& part : c) settle(part);
        }
        ptx::wgmma_fence();
#pragma unroll
        for (int step = half * 2; step < half * 2 + 2; ++step) {
#pragma unroll
          for (int i = 0; i < DK / 2 / WIDTH; ++i) ptx::wgmma_bf16_rs<true>(c[i], weighted[step], further(k_rows, i * 2 * K_PANEL + step * 2048), true);
        }
        ptx::wgmma_commit();
      };
      if (OUT) {
        ptx::wgmma_wait<2>();
        keep_until_here(a[0]);
        keep_until_here(a[1]);
      }
      update(0);
      if (OUT) {
        ptx::wgmma_wait<1>();
        keep_until_here(a[2]);
        keep_until_here(a[3]);
        settle(h);
        __syncwarp();
        if (lane == 0) ptx::mbarrier_arrive(&shared.q_empty[stage]);
        __syncwarp();
      }
      update(1);
      if (OUT) {
        ptx::mbarrier_wait(&shared.p_full[stage], phase);
#pragma unroll
        for (int n = 0; n < 8; ++n) {
          const float2 by = *reinterpret_cast<const float2*>(&shared.by[stage][n * 8 + t * 2]);
          h[n * 4] *= by.x, h[n * 4 + 1] *= by.y, h[n * 4 + 2] *= by.x, h[n * 4 + 3] *= by.y;
        }
        const auto v_rows = ptx::wgmma_descriptor(v_tile), p_rows = ptx::wgmma_descriptor(ptx::smem_address(shared.p[stage]));
        settle(h);
        ptx::wgmma_fence();
#pragma unroll
        for (int step = 0; step < 4; ++step) ptx::wgmma_bf16_ss<true>(h, further(v_rows, step * 2048), further(p_rows, step * 32), true);
        ptx::wgmma_commit();
      }
      ptx::wgmma_wait<OUT ? 1 : 0>();
      keep_until_here(weighted);
      for (auto& part : c) settle(part);
      __syncwarp();
      if (lane == 0) {
        ptx::mbarrier_arrive(&shared.k_empty[k_stage]);
        if (!OUT) ptx::mbarrier_arrive(&shared.v_empty[v_stage]);
      }
      __syncwarp();
      if (OUT) {
        ptx::wgmma_wait<0>();
        settle(h);
        __syncwarp();
        if (lane == 0) {
          ptx::mbarrier_arrive(&shared.p_empty[stage]);
          ptx::mbarrier_arrive(&shared.v_empty[v_stage]);
        }
        __syncwarp();
#pragma unroll
        for (int i = 0; i < 16; ++i) out[i] = ptx::pack_bf16(h[i * 2], h[i * 2 + 1]);
      }
      if (++v_stage == V_STAGES) v_stage = 0, v_phase ^= 1;
      if (++k_stage == K_STAGES) k_stage = 0, k_phase ^= 1;
    }
    if (OUT) {
      stage_out();
      send_out(end - 1);
    }
    if (!OUT) {
#pragma unroll
      for (int n = 0; n < TILES; ++n) {
        part[blockIdx.z * next_part + n * 128] = make_float4(at(n * 4), at(n * 4 + 1), at(n * 4 + 2), at(n * 4 + 3));
      }
    } else {
      if (end == chunks && is_there) {
#pragma unroll
        for (int i = 0; i < DK / 2; ++i) c_out[memory_at + (long long)(i / 4 * 8 + t * 2 + i % 2) * DV + i % 4 / 2 * 8] = at(i);
      }
      if (thread == 0) ptx::tma_store_wait<0>();
    }
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.DK == 64 || p.DK == 256, "DK must be 64 or 256")) return;
  if (!plan.require(p.DV % 64 == 0, "DV must be a multiple of 64")) return;
  const int heads = (int)(p.B * p.NH), wide = kl::cdiv((int)p.DV, COLUMNS), blocks = heads * wide, chunks = kl::cdiv((int)p.S, CHUNK);
  // As many segments as fit beside each other, and as many pieces of all but the last as fit three times.
  const int wanted = kl::clamp(p.device.sms / blocks, 1, (int)kl::clamp(chunks / 2, 1, SEGMENTS_MAX));
  int pieces_of = wanted > 1 ? kl::clamp(3 * p.device.sms / (blocks * (wanted - 1)), 1, PARTS_MAX) : 1;
  const int piece = kl::cdiv(kl::cdiv(chunks, wanted), pieces_of);
  pieces_of = kl::cdiv(kl::cdiv(chunks, wanted), piece);
  const int span = piece * pieces_of, segments = kl::cdiv(chunks, span), pieces = (segments - 1) * pieces_of;
  const long long bytes = 1024 + (long long)(p.DK == 64 ? sizeof(Layout<64, true>) : sizeof(Layout<256, true>));
  const long long piece_bytes = 1024 + (long long)(p.DK == 64 ? sizeof(Layout<64, false>) : sizeof(Layout<256, false>));
  if (!plan.require(kl::max(bytes, piece_bytes) <= p.device.shared_bytes_max, "shared memory is too small")) return;
  const auto sums = plan.workspace(kl::f64, 2ll * heads * chunks);
  const auto records = plan.workspace(kl::f32, (long long)heads * chunks * RECORD);
  const auto starts = plan.workspace(kl::f64, (long long)heads * chunks);
  const auto c_parts = plan.workspace(kl::f32, kl::max(1, pieces) * (long long)heads * p.DK * wide * COLUMNS);
  const auto n_parts = plan.workspace(kl::f32, kl::max(1, pieces) * (long long)heads * p.DK);
  auto q_map = plan.tensor_map(p.q.view(heads, p.S, p.DK), {2, 1, 0}, {64, 64, 1}, kl::swizzle_128);
  auto k_map = plan.tensor_map(p.k.view(heads, p.S, p.DK), {2, 1, 0}, {64, 64, 1}, kl::swizzle_128);
  auto v_map = plan.tensor_map(p.v.view(heads, p.S, p.DV), {2, 1, 0}, {64, 64, 1}, kl::swizzle_128);
  auto h_map = plan.tensor_map(p.h.view(heads, p.S, p.DV), {2, 1, 0}, {64, 64, 1}, kl::swizzle_128);
  plan.launch("mlstm_sums").grid(kl::cdiv(chunks, 8), heads).block(256).arg(p.igate).arg(p.fgate).arg(sums).arg(p.S).arg(chunks);
  plan.launch("mlstm_gates").grid(kl::cdiv(chunks, 8), heads).block(256).arg(p.igate).arg(p.fgate).arg(p.m0).arg(sums)
      .arg(records).arg(starts).arg(p.m).arg(p.S).arg(chunks);
  if (pieces > 0)
    plan.launch(p.DK == 64 ? "mlstm_wgmma<64, false>" : "mlstm_wgmma<256, false>").grid(wide, heads, pieces).block(THREADS).shared(piece_bytes)
        .arg(q_map).arg(k_map).arg(v_map).arg(h_map).arg(records).arg(starts).arg(p.c0).arg(p.n0).arg(p.m0).arg(c_parts)
        .arg(n_parts).arg(p.c).arg(p.n).arg(p.DV).arg(chunks).arg(piece).arg(piece).arg(pieces).arg(p.scale).arg(p.eps);
  plan.launch(p.DK == 64 ? "mlstm_wgmma<64, true>" : "mlstm_wgmma<256, true>").grid(wide, heads, segments).block(THREADS).shared(bytes)
      .arg(q_map).arg(k_map).arg(v_map).arg(h_map).arg(records).arg(starts).arg(p.c0).arg(p.n0).arg(p.m0).arg(c_parts)
      .arg(n_parts).arg(p.c).arg(p.n).arg(p.DV).arg(chunks).arg(span).arg(piece).arg(pieces).arg(p.scale).arg(p.eps);
}
