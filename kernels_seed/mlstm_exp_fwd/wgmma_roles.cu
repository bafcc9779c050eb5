// SPDX-License-Identifier: Apache-2.0
// mLSTM in chunks on wgmma: q, k [B, NH, S, DK], v [B, NH, S, DV] (bf16) with gates, outputs h and the final state.
//
// Technique: two small launches scan the gates (sums in double; a launch for each chunk's own, one for what chunks hand on).
// Then a block takes one head and 128 channels of its values and walks the sequence in chunks of 64 tokens. Warpgroups:
//   0, 1  state: C^T (64 value channels by DK, f32) stays in registers. Packed to bf16 it is the A operand of C^T Q^T, so that
//         the memory never passes through shared memory; then H^T = since * (C^T Q^T) + V^T P^T and C^T = keep * C^T + (w V)^T K
//   2     scores: Q K^T with gates as weights, denominators and the normaliser n, one chunk ahead of the states. n is two
//         more rows of K (upper and lower half of its bits), so that one product gives n . q
//   3     producer: TMA, rings of two chunks
// Where heads are too few for the device, blocks take segments of the sequence: a launch before sums up what pieces of
// the earlier ones add to the state, all at once. Runs on sm_90.
//
// Ladder:
//   naive.cu         token after token, two barriers each
//   chunked_mma.cu   64 tokens a step on mma.sync, memory in registers
//   this file        wgmma, TMA and roles: 3.8 to 5.3x the second on an H100
//   left to do       the states wait for scores, whose warpgroup keeps the normaliser too: with warps of its own for that, decays
//                    between the products and tiles brought into the L2 beforehand the main launch took 442 us instead of 499
//                    (4 x 8k, an H100, n = 12; not examined on a device yet). Programmatic launches were slower (4 %)

// tune: SEGMENTS_MAX = 4 | 1 | 2
// tune: PARTS_MAX = 1 | 2 | 4

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int CHUNK = 64, GROUPS = 2, COLUMNS = 64 * GROUPS, THREADS = 128 * (GROUPS + 2);
constexpr int PANEL = 64 * 128, K_PANEL = 72 * 128;  // 64 channels of a tile; the keys' has eight rows more
constexpr int RECORD = 7 * CHUNK;                    // floats: a, M (two each), since, 2^-m, weight
constexpr int M_AT = 2 * CHUNK, SINCE_AT = 4 * CHUNK, FLOOR_AT = 5 * CHUNK, WEIGHT_AT = 6 * CHUNK;
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

/// x in two floats; what is below every gate stays there.
__device__ __forceinline__ float2 split(double x) {
  const float high = (float)x;
  return make_float2(high, isinf(high) ? 0.0f : (float)(x - high));
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
    reinterpret_cast<float2*>(record)[token] = split(scan.a[i]);
    reinterpret_cast<float2*>(record + M_AT)[token] = split(tokens_top);
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

/// Keeps the compiler from reading accumulators before the wait.
template <int N>
__device__ __forceinline__ void settle(float (&d)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

/// Keeps operands in their registers until here.
template <int N>
__device__ __forceinline__ void keep_until_here(const unsigned (&a)[N][4]) {
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" ::"r"(a[i][0]), "r"(a[i][1]), "r"(a[i][2]), "r"(a[i][3]) : "memory");
}

__device__ __forceinline__ unsigned scaled(unsigned pair, float low, float high) {
  return ptx::pack_bf16(ptx::low_bf16(pair) * low, ptx::high_bf16(pair) * high);
}

template <int DK>
struct Layout {
  static constexpr int PANELS = DK / 64, Q = PANELS * PANEL, K = PANELS * K_PANEL, V = GROUPS * PANEL;
  unsigned char q[2][Q], k[2][K], v[2][V], p[2][PANEL], h[GROUPS][PANEL];
  float gates[2][512];  // a record each
  float by[2][CHUNK];   // of each token: the factor of what the state before the chunk gives
  uint64_t q_full[2], q_empty[2], k_full[2], k_empty[2], v_full[2], v_empty[2], p_full[2], p_empty[2];
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
  Layout<DK>& shared = *reinterpret_cast<Layout<DK>*>(memory + ((1024u - (ptx::smem_address(memory) & 1023u)) & 1023u));
  const int thread = threadIdx.x % 128, group = threadIdx.x / 128, lane = thread % 32, warp = thread / 32, g = lane / 4, t = lane % 4;
  const int head = blockIdx.y, begin = (int)blockIdx.z * span, end = min(begin + span, chunks);

  if (threadIdx.x == 0) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      ptx::mbarrier_init(&shared.q_full[i], 1);
      ptx::mbarrier_init(&shared.k_full[i], 1);
      ptx::mbarrier_init(&shared.v_full[i], 1);
      ptx::mbarrier_init(&shared.p_full[i], 4);
      ptx::mbarrier_init(&shared.q_empty[i], 4 * GROUPS + 4);
      ptx::mbarrier_init(&shared.k_empty[i], 4 * GROUPS + 4);
      ptx::mbarrier_init(&shared.v_empty[i], 4 * GROUPS);
      ptx::mbarrier_init(&shared.p_empty[i], 4 * GROUPS);
    }
    ptx::fence_mbarrier_init();
  }
  if (OUT) {  // the keys' further rows: two will be the normaliser, the others are zero
    for (int i = threadIdx.x; i < 2 * PANELS * 64; i += THREADS) {
      reinterpret_cast<uint4*>(shared.k[i / (PANELS * 64)] + i / 64 % PANELS * K_PANEL + PANEL)[i % 64] = make_uint4(0, 0, 0, 0);
    }
    ptx::fence_proxy_async();
  }
  __syncthreads();

  if (group == GROUPS + 1) {
    ptx::register_decrease<24>();
    if (thread == 0) {
      for (int chunk = begin, count = 0; chunk < end; ++chunk, ++count) {
        const int stage = count & 1, parity = ((count >> 1) & 1) ^ 1, token = chunk * CHUNK;
        ptx::mbarrier_wait(&shared.v_empty[stage], parity);
        ptx::mbarrier_arrive_expect(&shared.v_full[stage], Layout<DK>::V);
#pragma unroll
        for (int i = 0; i < GROUPS; ++i) {
          ptx::tma_load_3d(shared.v[stage] + i * PANEL, &v_map, &shared.v_full[stage], blockIdx.x * COLUMNS + i * 64, token, head);
        }
        if (OUT) {
          ptx::mbarrier_wait(&shared.q_empty[stage], parity);
          ptx::mbarrier_arrive_expect(&shared.q_full[stage], Layout<DK>::Q);
#pragma unroll
          for (int i = 0; i < PANELS; ++i) {
            ptx::tma_load_3d(shared.q[stage] + i * PANEL, &q_map, &shared.q_full[stage], i * 64, token, head);
          }
        }
        ptx::mbarrier_wait(&shared.k_empty[stage], parity);
        ptx::mbarrier_arrive_expect(&shared.k_full[stage], PANELS * PANEL + RECORD * 4);
        ptx::bulk_load(shared.gates[stage], records + ((long long)head * chunks + chunk) * RECORD, RECORD * 4, &shared.k_full[stage]);
#pragma unroll
        for (int i = 0; i < PANELS; ++i) {
          ptx::tma_load_3d(shared.k[stage] + i * K_PANEL, &k_map, &shared.k_full[stage], i * 64, token, head);
        }
      }
    }
  } else if (group == GROUPS) {
    ptx::register_decrease<72>();
    const bool has_normaliser = thread < DK / 2 && (OUT || blockIdx.x == 0);  // a thread has two of its channels
    const int panel = thread / 32 * K_PANEL, chunk16 = lane / 4 * 16;            // where they are in a row of keys
    float n[2] = {0.0f, 0.0f};
    if (OUT && has_normaliser) {
      const double start = starts[(long long)head * chunks + begin];
      const float2 first = reinterpret_cast<const float2*>(n0 + (long long)head * DK)[thread];
      const float left = ptx::ex2((float)(m0[head] * LOG2E - start));
      n[0] = left * first.x, n[1] = left * first.y;
      for (int i = 0; i < begin / piece; ++i) {
        const float2 part = reinterpret_cast<const float2*>(n_parts + ((long long)head * pieces + i) * DK)[thread];
        const float by = ptx::ex2((float)(starts[(long long)head * chunks + (i + 1) * piece] - start));
        n[0] = fmaf(by, part.x, n[0]), n[1] = fmaf(by, part.y, n[1]);
      }
    }
    for (int chunk = begin, count = 0; chunk < end; ++chunk, ++count) {
      const int stage = count & 1, phase = (count >> 1) & 1;
      unsigned char* const q_tile = shared.q[stage];
      unsigned char* const k_tile = shared.k[stage];
      const float* const gates = shared.gates[stage];
      float s[36];
#pragma unroll
      for (int i = 0; i < 36; ++i) s[i] = 0.0f;
      ptx::mbarrier_wait(&shared.k_full[stage], phase);
      if (OUT) {
        if (thread < DK / 2) {
          const unsigned upper = ptx::pack_bf16(n[0], n[1]);
          const unsigned lower = ptx::pack_bf16(n[0] - ptx::low_bf16(upper), n[1] - ptx::high_bf16(upper));
          *reinterpret_cast<unsigned*>(k_tile + panel + PANEL + chunk16 + t * 4) = upper;
          *reinterpret_cast<unsigned*>(k_tile + panel + PANEL + 128 + (chunk16 ^ 16) + t * 4) = lower;
        }
        ptx::fence_proxy_async();
        ptx::named_barrier_sync(1, 128);
        ptx::mbarrier_wait(&shared.q_full[stage], phase);
        settle(s);
        ptx::wgmma_fence();
#pragma unroll
        for (int step = 0; step < DK / 16; ++step) {
          wgmma_scores(s, ptx::wgmma_descriptor(ptx::smem_address(q_tile + step / 4 * PANEL + step % 4 * 32)),
                       ptx::wgmma_descriptor(ptx::smem_address(k_tile + step / 4 * K_PANEL + step % 4 * 32)), step != 0);
        }
        ptx::wgmma_commit();
      }
      if (has_normaliser) {
        const float keep = gates[SINCE_AT + CHUNK - 1];
        n[0] *= keep, n[1] *= keep;
#pragma unroll
        for (int i = 0; i < CHUNK; i += 4) {
          const float4 weights = *reinterpret_cast<const float4*>(gates + WEIGHT_AT + i);
          const float weight[4] = {weights.x, weights.y, weights.z, weights.w};
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            const unsigned pair = *reinterpret_cast<const unsigned*>(k_tile + panel + (i + j) * 128 + (chunk16 ^ ((i + j) % 8 * 16)) + t * 4);
            n[0] = fmaf(weight[j], ptx::low_bf16(pair), n[0]);
            n[1] = fmaf(weight[j], ptx::high_bf16(pair), n[1]);
          }
        }
      }
      if (OUT) {
        ptx::wgmma_wait<0>();
        settle(s);
        __syncwarp();
        if (lane == 0) ptx::mbarrier_arrive(&shared.q_empty[stage]);
        float by[2];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int row = warp * 16 + half * 8 + g;
          const float2 top = reinterpret_cast<const float2*>(gates + M_AT)[row];
          float sum = 0;
#pragma unroll
          for (int n = 0; n < 8; ++n) {
            if (n / 2 > warp) continue;  // later tokens
            const float4 a = *reinterpret_cast<const float4*>(gates + (n * 8 + t * 2) * 2);
            const float x[2] = {(a.x - top.x) + (a.y - top.y), (a.z - top.x) + (a.w - top.y)};
#pragma unroll
            for (int e = 0; e < 2; ++e) {
              float& p = s[n * 4 + half * 2 + e];
              p = n * 8 + t * 2 + e > row ? 0.0f : p * ptx::ex2(x[e]);
              sum += p;
            }
          }
          const float since = gates[SINCE_AT + row];
          sum = fmaf(since, s[32 + half * 2] + s[33 + half * 2], sum);  // n . q: zero but in the first lane of four
          sum += __shfl_xor_sync(0xffffffffu, sum, 1);
          sum += __shfl_xor_sync(0xffffffffu, sum, 2);
          by[half] = scale / (fmaxf(fabsf(scale * sum), gates[FLOOR_AT + row]) + eps);
          if (half == 0) ptx::mbarrier_wait(&shared.p_empty[stage], phase ^ 1);
          if (t == 0) shared.by[stage][row] = since * by[half];
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
          const int row = warp * 16 + (lane & 15), at = (n + (lane >> 4)) ^ (row & 7);
          ptx::stmatrix_x4(shared.p[stage] + row * 128 + at * 16, packed);
        }
        ptx::fence_proxy_async();
      }
      __syncwarp();
      if (lane == 0) {
        if (OUT) ptx::mbarrier_arrive(&shared.p_full[stage]);
        ptx::mbarrier_arrive(&shared.k_empty[stage]);
      }
    }
    if (has_normaliser) {
      if (!OUT) reinterpret_cast<float2*>(n_parts + ((long long)head * pieces + blockIdx.z) * DK)[thread] = make_float2(n[0], n[1]);
      if (OUT && blockIdx.x == 0 && end == chunks) reinterpret_cast<float2*>(n_out + (long long)head * DK)[thread] = make_float2(n[0], n[1]);
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
          at(n * 4) = fmaf(by, x.x, at(n * 4)), at(n * 4 + 1) = fmaf(by, x.y, at(n * 4 + 1));
          at(n * 4 + 2) = fmaf(by, x.z, at(n * 4 + 2)), at(n * 4 + 3) = fmaf(by, x.w, at(n * 4 + 3));
        }
      }
    }
    for (int chunk = begin, count = 0; chunk < end; ++chunk, ++count) {
      const int stage = count & 1, phase = (count >> 1) & 1;
      const unsigned k_tile = ptx::smem_address(shared.k[stage]);
      const float* const gates = shared.gates[stage];
      float h[32];
      if (OUT) {
#pragma unroll
        for (int i = 0; i < 32; ++i) h[i] = 0.0f;
        ptx::mbarrier_wait(&shared.q_full[stage], phase);
        const unsigned q_tile = ptx::smem_address(shared.q[stage]);
        unsigned a[2][2][4];
        settle(h);
        const auto pack = [&](int i) {
#pragma unroll
          for (int step = 0; step < 2; ++step) {
#pragma unroll
            for (int j = 0; j < 4; ++j) {
              const int at = i * 16 + step * 8 + j * 2;
              a[i % 2][step][j] = ptx::pack_bf16(c[at / WIDTH][at % WIDTH], c[at / WIDTH][at % WIDTH + 1]);
            }
          }
        };
#pragma unroll
        for (int i = 0; i < 2 && i < DK / 32; ++i) pack(i);
#pragma unroll
        for (int i = 0; i < DK / 32; ++i) {
          if (i >= 2) {
            ptx::wgmma_wait<1>();
            keep_until_here(a[i % 2]);
            pack(i);
          }
          ptx::wgmma_fence();
#pragma unroll
          for (int step = 0; step < 2; ++step) {
            ptx::wgmma_bf16_rs(h, a[i % 2][step], ptx::wgmma_descriptor(q_tile + i / 2 * PANEL + (i % 2 * 2 + step) * 32), i + step > 0);
          }
          ptx::wgmma_commit();
        }
        ptx::mbarrier_wait(&shared.k_full[stage], phase);
        const float keep = gates[SINCE_AT + CHUNK - 1];
#pragma unroll
        for (int i = 0; i < DK / 2; ++i) at(i) *= keep;
        ptx::wgmma_wait<0>();
#pragma unroll
        for (int i = 0; i < 2 && i < DK / 32; ++i) keep_until_here(a[i]);
        settle(h);
        __syncwarp();
        if (lane == 0) ptx::mbarrier_arrive(&shared.q_empty[stage]);
      } else {
        ptx::mbarrier_wait(&shared.k_full[stage], phase);
        const float keep = gates[SINCE_AT + CHUNK - 1];
#pragma unroll
        for (int i = 0; i < DK / 2; ++i) at(i) *= keep;
      }
      ptx::mbarrier_wait(&shared.v_full[stage], phase);
      unsigned weighted[4][4];
      const unsigned char* const v_tile = shared.v[stage] + group * PANEL;
#pragma unroll
      for (int step = 0; step < 4; ++step) {
        const int key = step * 16 + (lane & 7) + (lane >> 4) * 8;
        ptx::ldmatrix_x4_trans(weighted[step], v_tile + key * 128 + (((warp * 2 + ((lane >> 3) & 1)) ^ (key & 7)) * 16));
      }
#pragma unroll
      for (int step = 0; step < 4; ++step) {
        const float2 low = *reinterpret_cast<const float2*>(gates + WEIGHT_AT + step * 16 + t * 2);
        const float2 high = *reinterpret_cast<const float2*>(gates + WEIGHT_AT + step * 16 + t * 2 + 8);
        weighted[step][0] = scaled(weighted[step][0], low.x, low.y);
        weighted[step][1] = scaled(weighted[step][1], low.x, low.y);
        weighted[step][2] = scaled(weighted[step][2], high.x, high.y);
        weighted[step][3] = scaled(weighted[step][3], high.x, high.y);
      }
      if (OUT) {
        ptx::mbarrier_wait(&shared.p_full[stage], phase);
#pragma unroll
        for (int n = 0; n < 8; ++n) {
          const float2 by = *reinterpret_cast<const float2*>(&shared.by[stage][n * 8 + t * 2]);
          h[n * 4] *= by.x, h[n * 4 + 1] *= by.y, h[n * 4 + 2] *= by.x, h[n * 4 + 3] *= by.y;
        }
        const unsigned p_tile = ptx::smem_address(shared.p[stage]);
        settle(h);
        ptx::wgmma_fence();
#pragma unroll
        for (int step = 0; step < 4; ++step) {
          ptx::wgmma_bf16_ss<true>(h, ptx::wgmma_descriptor(ptx::smem_address(v_tile + step * 2048)),
                                   ptx::wgmma_descriptor(p_tile + step * 32), true);
        }
        ptx::wgmma_commit();
      }
      for (auto& part : c) settle(part);
      ptx::wgmma_fence();
#pragma unroll
      for (int step = 0; step < 4; ++step) {
#pragma unroll
        for (int i = 0; i < DK / 2 / WIDTH; ++i) {
          ptx::wgmma_bf16_rs<true>(c[i], weighted[step], ptx::wgmma_descriptor(k_tile + i * 2 * K_PANEL + step * 2048, K_PANEL), true);
        }
      }
      ptx::wgmma_commit();
      if (OUT) {
        ptx::wgmma_wait<1>();
        settle(h);
        __syncwarp();
        if (lane == 0) {
          ptx::mbarrier_arrive(&shared.p_empty[stage]);
          ptx::mbarrier_arrive(&shared.v_empty[stage]);
        }
        if (thread == 0) ptx::tma_store_wait_read<0>();
        __syncwarp();
        ptx::named_barrier_sync(2 + group, 128);  // the last store has read its tile
#pragma unroll
        for (int n = 0; n < 8; n += 2) {
          const int token = (n + (lane >> 4)) * 8 + (lane & 7), at = (warp * 2 + ((lane >> 3) & 1)) ^ (token & 7);
          stmatrix_x4_trans(shared.h[group] + token * 128 + at * 16, ptx::pack_bf16(h[n * 4], h[n * 4 + 1]),
                            ptx::pack_bf16(h[n * 4 + 2], h[n * 4 + 3]), ptx::pack_bf16(h[n * 4 + 4], h[n * 4 + 5]),
                            ptx::pack_bf16(h[n * 4 + 6], h[n * 4 + 7]));
        }
        ptx::fence_proxy_async();
        ptx::named_barrier_sync(2 + group, 128);
        if (thread == 0 && is_there) {
          ptx::tma_store_3d(&h_map, shared.h[group], columns, chunk * CHUNK, head);
          ptx::tma_store_commit();
        }
        __syncwarp();
      }
      ptx::wgmma_wait<0>();
      keep_until_here(weighted);
      for (auto& part : c) settle(part);
      __syncwarp();
      if (lane == 0) {
        ptx::mbarrier_arrive(&shared.k_empty[stage]);
        if (!OUT) ptx::mbarrier_arrive(&shared.v_empty[stage]);
      }
    }
    if (!OUT) {
#pragma unroll
      for (int n = 0; n < TILES; ++n) part[blockIdx.z * next_part + n * 128] = make_float4(at(n * 4), at(n * 4 + 1), at(n * 4 + 2), at(n * 4 + 3));
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
  const long long bytes = 1024 + (p.DK == 64 ? (long long)sizeof(Layout<64>) : (long long)sizeof(Layout<256>));
  if (!plan.require(bytes <= p.device.shared_bytes_max, "shared memory is too small")) return;
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
    plan.launch(p.DK == 64 ? "mlstm_wgmma<64, false>" : "mlstm_wgmma<256, false>").grid(wide, heads, pieces).block(THREADS).shared(bytes)
        .arg(q_map).arg(k_map).arg(v_map).arg(h_map).arg(records).arg(starts).arg(p.c0).arg(p.n0).arg(p.m0).arg(c_parts)
        .arg(n_parts).arg(p.c).arg(p.n).arg(p.DV).arg(chunks).arg(piece).arg(piece).arg(pieces).arg(p.scale).arg(p.eps);
  plan.launch(p.DK == 64 ? "mlstm_wgmma<64, true>" : "mlstm_wgmma<256, true>").grid(wide, heads, segments).block(THREADS).shared(bytes)
      .arg(q_map).arg(k_map).arg(v_map).arg(h_map).arg(records).arg(starts).arg(p.c0).arg(p.n0).arg(p.m0).arg(c_parts)
      .arg(n_parts).arg(p.c).arg(p.n).arg(p.DV).arg(chunks).arg(span).arg(piece).arg(pieces).arg(p.scale).arg(p.eps);
}
