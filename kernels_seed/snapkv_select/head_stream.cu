// SPDX-License-Identifier: Apache-2.0
// SnapKV selection in one pass over the keys: q [B, 32, Hq, 128], k [B, S, Hkv, 128] (bf16) -> the N best tokens of a head, [B, Hq,
// N].
//
// Technique: the weights of a head's queries are known once all of its keys have been seen, so its exponentials are kept on the
// chip meanwhile, and the keys of the next head stream in: memory never waits for sums. An item is one head, or two that share
// keys; the blocks of a group (one block per multiprocessor) divide its tokens and go from item to item. Roles in a block:
//   warp 0       TMA of keys, tiles of 64, into a ring for every warpgroup that multiplies
//   warp 1       TMA of queries, and their references
//   warp 2       adds the block's sums of exponentials to everybody's, as whole numbers, so that order does not matter; a sum
//                counts in its upper bits who has added to it
//   warp 3       waits for all of them and lays out the weights
//   warpgroups   four: wgmma of 64 keys by all queries of the item, then their exponentials (one head: those of a tile while the
//                next is multiplied; two: while other warpgroups multiply). They go in 16 bits into a slot, in the layout of an
//                operand of mma.sync; when a slot is to be used again, what it holds is multiplied by the weights (in two parts of
//                16 bits) and gives the sums of probabilities of its tokens
// Exponentials are relative to a query's largest logit among 64 tokens all over the prompt, so that all blocks agree and 16 bits
// do: where a sum shows that they may not, the head is flagged, and the choice computes its sums anew, slowly. Slots that shared
// memory has no room for (long prompts) lie in device memory. A cluster per head then pools and chooses by digits. Runs on sm_90.
//
// Ladder (geometric means over four shapes):
//   naive.cu        all logits through device memory, scores bisected bit by bit
//   fused_mma.cu    keys read twice and shared by the group, nothing else of the size of the logits
//   two_passes.cu   product transposed: a warp holds all queries of a head; clusters choose
//   one_product.cu  keys read once, exponentials kept in 16 bits, in device memory where they do not fit the chip
//   this file       heads follow one another, two at a time on four warpgroups: 1.54x the one before (1.31 to 1.76x, an
//                   H100, n = 8). Since then: the second of two heads goes backwards over its keys;
//                   what may be chosen goes into lists
//   left to do      a tile takes a warpgroup some 4000 cycles, of which the tensor cores need 300; the choice, 8 to 22 us
//                   behind the last key

// tune: CHUNK = 8 | 16 | 4
// tune: SLACK = 2 | 1 | 3
// tune: SIBLINGS = 1 | 2
// tune: CHOOSE_PART = 4096 | 2048 | 8192

#include <cuda_fp16.h>
#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int D = Problem::D, W = Problem::W, POOL = Problem::POOL;
static_assert(W == 32 && D == 128 && POOL == 5, "the layout of the product");
constexpr int KEYS = 64, TILE = KEYS * D * 2;  // keys of a tile, and its bytes
constexpr float FIXED = 16777216.0f;           // sums of exponentials are added as whole numbers of 2^-24: in any order the same
constexpr float TOO_LARGE = 32768.0f;          // a block's sum above it may hide an exponential beyond 16 bits

constexpr int TEAMS = 4;  // warpgroups that multiply
template <int HP>
constexpr int STAGES_OF = HP == 1 ? 2 : 1;  // of the ring of each
template <int HP>
constexpr int COPIES_OF = HP;  // of a query's sum, to which different blocks add
// A sum counts who has added to it, in the upper eight bits, so that nothing else has to be waited for.
constexpr unsigned long long ONE = 1ull << 56;
constexpr unsigned long long TOO_SMALL = 1ull << 20;  // one sixteenth: 16 bits hold too little of so small a sum
constexpr unsigned long long BEYOND = 1ull << 48;     // what is added where an exponential may be beyond 16 bits

/// Shared memory behind the tiles.
template <int HP>
struct Tables {
  static constexpr int N = W * HP;
  uint64_t full[TEAMS * STAGES_OF<HP>], empty[TEAMS * STAGES_OF<HP>], q_full[2], q_empty[2];
  uint64_t reference_full, reference_empty, staged_full, staged_empty, weights_full, weights_empty;
  float staged[TEAMS * 2][N];    // sums of two warps each
  float weights[N];              // times a power of two of their head
  float back[2];                 // its inverse
  unsigned short references[N];  // bf16, in octaves
};
static_assert(sizeof(Tables<2>) <= 3072, "four slots for every warpgroup beside it");

__device__ __forceinline__ unsigned load_acquire(const unsigned* from) {
  unsigned value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(from) : "memory");
  return value;
}
__device__ __forceinline__ unsigned long long load_relaxed(const unsigned long long* from) {
  unsigned long long value;
  asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(value) : "l"(from) : "memory");
  return value;
}
__device__ __forceinline__ void add_release(unsigned* to, unsigned value) {
  asm volatile("red.release.gpu.global.add.u32 [%0], %1;" ::"l"(to), "r"(value) : "memory");
}
__device__ __forceinline__ void wait_for(const unsigned* count, unsigned wanted) {
  while (load_acquire(count) < wanted) __nanosleep(32);
}

__device__ __forceinline__ unsigned pack(float low, float high) {
  unsigned word;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}
__device__ __forceinline__ float2 unpack(unsigned word) { return __half22float2(*reinterpret_cast<const __half2*>(&word)); }

template <int N>
__device__ __forceinline__ void settle(float (&d)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

/// Which of its `own` tiles a warpgroup takes: every second item goes over them backwards, so that what was read last is still in
/// the L2 where the next heads share the keys.
__device__ __forceinline__ int place_of(int turn, int tile, int own) { return turn & 1 ? own - 1 - tile : tile; }

constexpr __host__ __device__ int pitch_of(int count) { return (count + 3) / 4 * 4; }

/// A box of keys.
__device__ __forceinline__ void load_keys(void* to, const CUtensorMap* map, uint64_t* barrier, int d, int h, int token, int b,
                                          uint64_t priority) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%3, %4, %5, "
      "%6}], [%2], %7;" ::"r"(ptx::smem_address(to)),
      "l"(map), "r"(ptx::smem_address(barrier)), "r"(d), "r"(h), "r"(token), "r"(b), "l"(priority)
      : "memory");
}

/// References of the queries of one head: the largest logit of 64 tokens, eight times eight neighbours, in octaves, rounded to
/// bf16.
template <int HP>
__device__ __forceinline__ void refer(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
                                      unsigned short* references, float* staged, int S, int Hq, int group, int item, int head,
                                      int team, float scale) {
  constexpr int N = W * HP;
  const int tid = threadIdx.x % 128, lane = tid % 32, warp = tid / 32, g = lane / 4, t = lane % 4;
  const int per = Hq / HP, b = item / per, h = item % per * HP + head, Hkv = Hq / group, hk = h / group, count = S - W;
  const uint4* const keys = reinterpret_cast<const uint4*>(k + ((long long)b * S * Hkv + hk) * D) + t;
  const uint4* const x = keys + (long long)min((int)((long long)(warp * 2) * count / 8) + g, count - 1) * Hkv * (D / 8);
  const uint4* const y = keys + (long long)min((int)((long long)(warp * 2 + 1) * count / 8) + g, count - 1) * Hkv * (D / 8);
  uint4 kx[4], ky[4], a[4];
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    kx[c] = __ldg(x + c * 4);
    ky[c] = __ldg(y + c * 4);
  }
  const uint4* const rows = reinterpret_cast<const uint4*>(q + (((long long)b * W + team * 8 + g) * Hq + h) * D) + t;
#pragma unroll
  for (int c = 0; c < 4; ++c) a[c] = __ldg(rows + c * 4);
  float s[4] = {0, 0, 0, 0};
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    const unsigned low[4] = {kx[c].x, ky[c].x, kx[c].y, ky[c].y}, high[4] = {kx[c].z, ky[c].z, kx[c].w, ky[c].w};
    ptx::mma_bf16(s, low, a[c].x, a[c].y);
    ptx::mma_bf16(s, high, a[c].z, a[c].w);
  }
  float top[2] = {fmaxf(s[0], s[2]), fmaxf(s[1], s[3])};
#pragma unroll
  for (int step = 4; step < 32; step *= 2) {
#pragma unroll
    for (int e = 0; e < 2; ++e) top[e] = fmaxf(top[e], __shfl_xor_sync(0xffffffffu, top[e], step));
  }
  if (g == 0) {
    staged[warp * 8 + t * 2] = top[0];
    staged[warp * 8 + t * 2 + 1] = top[1];
  }
  ptx::named_barrier_sync(1 + team, 128);
  if (tid < 8) {
    float largest = staged[tid];
#pragma unroll
    for (int w = 1; w < 4; ++w) largest = fmaxf(largest, staged[w * 8 + tid]);
    references[item * N + (team * 8 + tid) * HP + head] = (unsigned short)ptx::pack_bf16(largest * scale, 0.0f);
  }
  ptx::named_barrier_sync(1 + team, 128);
}

/// Blocks of a group share an item (HP heads of the same keys); each takes `chunk` tiles of it, then of the next item. Warpgroup 0
/// copies and keeps statistics, the others multiply tiles in turn, keep the exponentials in slots, and weigh each slot when its
/// turn to be written comes again.
template <int HP, bool IS_FAR>
__global__ void __launch_bounds__(128 + 128 * TEAMS, 1)
    snapkv_stream(const __grid_constant__ CUtensorMap q_map, const __grid_constant__ CUtensorMap k_map,
                  const unsigned short* __restrict__ q, const unsigned short* __restrict__ k, unsigned short* references,
                  unsigned long long* totals, int* flagged, uint4* far, float* sums, int S, int Hq, int group, int items, int chunk,
                  int parts, int slots, int here, float scale) {
  constexpr int N = W * HP, NT = N / 8, Q_BYTES = N * D * 2, SLOT = HP * 2 * 128;  // SLOT in 16 bytes
  constexpr int STAGES = STAGES_OF<HP>, COPIES = COPIES_OF<HP>;
  extern __shared__ __align__(1024) unsigned char memory[];
  unsigned char* const q_tiles = memory + TEAMS * STAGES * TILE;
  uint4* const near = reinterpret_cast<uint4*>(q_tiles + 2 * Q_BYTES);
  Tables<HP>& tables = *reinterpret_cast<Tables<HP>*>(near + TEAMS * here * SLOT);
  unsigned* const referred =
      reinterpret_cast<unsigned*>(totals + (long long)items * COPIES * N);  // of an item: warpgroups that have written references
  const int tid = threadIdx.x % 128, lane = tid % 32, warp = tid / 32, g = lane / 4, t = lane % 4;
  const int groups = gridDim.x / parts, first_item = blockIdx.x / parts, part = blockIdx.x % parts;
  const int first_tile = part * chunk, mine = min(chunk, (S + KEYS - 1) / KEYS - first_tile);
  const int per = Hq / HP;

  if (threadIdx.x == 0) {
    const int warps = 4 * min(TEAMS, mine);  // that multiply
    for (int i = 0; i < TEAMS * STAGES; ++i) {
      ptx::mbarrier_init(&tables.full[i], 1);
      ptx::mbarrier_init(&tables.empty[i], 4);
    }
    for (int i = 0; i < 2; ++i) {
      ptx::mbarrier_init(&tables.q_full[i], 1);
      ptx::mbarrier_init(&tables.q_empty[i], warps);
    }
    ptx::mbarrier_init(&tables.reference_full, 1);
    ptx::mbarrier_init(&tables.reference_empty, warps);
    ptx::mbarrier_init(&tables.staged_full, warps / 2);
    ptx::mbarrier_init(&tables.staged_empty, 1);
    ptx::mbarrier_init(&tables.weights_full, 1);
    ptx::mbarrier_init(&tables.weights_empty, warps);
    ptx::fence_mbarrier_init();
    ptx::fence_proxy_async();
  }
  __syncthreads();  // the barriers are set up

  if (threadIdx.x < 128) {
    if (HP > 1) ptx::register_decrease<32>();
    if (warp == 0) {  // keys
      if (lane == 0) {
        unsigned turn = 0;
        for (int item = first_item; item < items; item += groups, ++turn) {
          const int b = item / per, hk = item % per * HP / group;
          const bool is_last = (item % per + 1) * HP % group == 0;  // no other head of these keys will read them
          for (int i = 0; i < mine; ++i) {
            const int team = i % TEAMS, own = (mine - team + TEAMS - 1) / TEAMS;
            const int token = (first_tile + place_of(turn, i / TEAMS, own) * TEAMS + team) * KEYS;
            // Who will not be read again, or last of all, may leave the L2 first.
            const uint64_t priority = is_last || i / TEAMS < own / 4 ? 0x12F0000000000000ull : 0x1000000000000000ull;
            const unsigned index = turn * own + i / TEAMS, stage = team * STAGES + index % STAGES;
            uint64_t* const barrier = &tables.full[stage];
            ptx::mbarrier_wait(&tables.empty[stage], (index / STAGES & 1) ^ 1);
            ptx::mbarrier_arrive_expect(barrier, TILE);
            load_keys(memory + stage * TILE, &k_map, barrier, 0, hk, token, b, priority);
            load_keys(memory + stage * TILE + TILE / 2, &k_map, barrier, 64, hk, token, b, priority);
          }
        }
      }
    } else if (warp == 1) {  // queries and references
      unsigned turn = 0;
      for (int item = first_item; item < items; item += groups, ++turn) {
        const unsigned buffer = turn & 1;
        ptx::mbarrier_wait(&tables.q_empty[buffer], (turn >> 1 & 1) ^ 1);
        if (lane == 0) {
          const int b = item / per, h0 = item % per * HP;
          ptx::mbarrier_arrive_expect(&tables.q_full[buffer], Q_BYTES);
          ptx::tma_load_4d(q_tiles + buffer * Q_BYTES, &q_map, &tables.q_full[buffer], 0, h0, 0, b);
          ptx::tma_load_4d(q_tiles + buffer * Q_BYTES + Q_BYTES / 2, &q_map, &tables.q_full[buffer], 64, h0, 0, b);
          wait_for(&referred[item], TEAMS * HP);
        }
        __syncwarp();
        uint2 v = make_uint2(0, 0);
        if (lane < N / 4) v = __ldcg(reinterpret_cast<const uint2*>(references + item * N + lane * 4));
        ptx::mbarrier_wait(&tables.reference_empty, (turn & 1) ^ 1);
        if (lane < N / 4) *reinterpret_cast<uint2*>(&tables.references[lane * 4]) = v;
        __syncwarp();
        if (lane == 0) ptx::mbarrier_arrive(&tables.reference_full);
        __syncwarp();
      }
    } else if (warp == 2) {  // sums of exponentials, to everybody
      unsigned turn = 0;
      for (int item = first_item; item < items; item += groups, ++turn) {
        ptx::mbarrier_wait(&tables.staged_full, turn & 1);
        float all[HP];
#pragma unroll
        for (int m = 0; m < HP; ++m) {
          all[m] = 0.0f;
          for (int r = 0; r < 2 * min(TEAMS, mine); ++r) all[m] += tables.staged[r][m * 32 + lane];
        }
        __syncwarp();
        if (lane == 0) ptx::mbarrier_arrive(&tables.staged_empty);
#pragma unroll
        for (int m = 0; m < HP; ++m) {
          const unsigned long long sum = all[m] < TOO_LARGE ? (unsigned long long)(all[m] * FIXED) : BEYOND;
          atomicAdd(totals + ((long long)item * COPIES + part % COPIES) * N + m * 32 + lane, ONE + sum);
        }
      }
    } else {  // weights, from everybody's sums
      unsigned turn = 0;
      for (int item = first_item; item < items; item += groups, ++turn) {
        if (lane == 0) {  // the first query's count stands for the others' at first
#pragma unroll
          for (int c = 0; c < COPIES; ++c) {
            const unsigned* const upper = reinterpret_cast<const unsigned*>(totals + ((long long)item * COPIES + c) * N) + 1;
            while (load_acquire(upper) >> 24 < (parts - c + COPIES - 1) / COPIES) __nanosleep(32);
          }
        }
        __syncwarp();
        unsigned long long total[HP];
        for (;;) {
          bool is_all = true;
#pragma unroll
          for (int m = 0; m < HP; ++m) {
            total[m] = 0;
#pragma unroll
            for (int c = 0; c < COPIES; ++c) total[m] += load_relaxed(totals + ((long long)item * COPIES + c) * N + m * 32 + lane);
            is_all = is_all && total[m] >> 56 == parts;
          }
          if (__all_sync(0xffffffffu, is_all)) break;
          __nanosleep(64);
        }
        bool fits = true;
#pragma unroll
        for (int m = 0; m < HP; ++m) {
          total[m] &= ONE - 1;
          fits = fits && total[m] >= TOO_SMALL && total[m] < BEYOND;
        }
        fits = __all_sync(0xffffffffu, fits);
        if (part == 0 && lane == 0) flagged[item] = fits ? 0 : 1;
        float weight[HP], largest = 0.0f;
#pragma unroll
        for (int m = 0; m < HP; ++m) {
          weight[m] = FIXED / (float)total[m];
          largest = fmaxf(largest, weight[m]);
        }
#pragma unroll
        for (int step = HP; step < 32; step *= 2) largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, step));
        const int exponent = (int)(__float_as_uint(largest) >> 23);  // the largest of a head becomes 2^14 or more
        const float forth = __uint_as_float((unsigned)(14 + 2 * 127 - exponent) << 23),
                    back = __uint_as_float((unsigned)(exponent - 14) << 23);
        ptx::mbarrier_wait(&tables.weights_empty, (turn & 1) ^ 1);
#pragma unroll
        for (int m = 0; m < HP; ++m) tables.weights[m * 32 + lane] = weight[m] * forth;
        if (lane < HP) tables.back[lane] = back;
        __syncwarp();
        if (lane == 0) ptx::mbarrier_arrive(&tables.weights_full);
        __syncwarp();
      }
    }
    return;
  }

  if (HP > 1) ptx::register_increase<112>();
  const int team = __shfl_sync(0xffffffffu, threadIdx.x / 128, 0) - 1, mine_here = (mine - team + TEAMS - 1) / TEAMS;
  const int turns = (items - first_item + groups - 1) / groups;
  for (int task = blockIdx.x; task < items * HP; task += gridDim.x) {
    // Slots are not in use yet.
    refer<HP>(q, k, references, reinterpret_cast<float*>(near + team * here * SLOT), S, Hq, group, task / HP, task % HP, team,
              scale);
    if (tid == 0) add_release(&referred[task / HP], 1);
  }
  const auto arrive = [&](uint64_t* barrier) {
    __syncwarp();
    if (lane == 0) ptx::mbarrier_arrive(barrier);
  };
  if (mine_here <= 0) return;

  uint4* const near_slots = near + team * here * SLOT + tid;
  uint4* const far_slots = far + (long long)(blockIdx.x * TEAMS + team) * (slots - here) * SLOT + tid;
  const int total = turns * mine_here, count_of = S - W, pitch = pitch_of(count_of);
  int slot = 0;
  int weigh_turn = 0, weigh_tile = 0;
  const auto place = [&]() -> uint4* {
    return !IS_FAR || slot < here ? near_slots + slot * SLOT : far_slots + (slot - here) * SLOT;
  };

  // Operands of the product with the weights: column n < 4 holds the upper parts of those of head n, n + 4 the lower ones.
  unsigned operand[NT];
  float back[2] = {0, 0};
  const auto take_weights = [&]() {
    ptx::mbarrier_wait(&tables.weights_full, weigh_turn & 1);
    const int head = g & 3;
#pragma unroll
    for (int n = 0; n < NT; ++n) {
      float part[2];
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const float w = tables.weights[n * 8 + t * 2 + e], upper = __half2float(__float2half_rn(w));
        part[e] = (t * 2 + e) % HP == head ? (g < 4 ? upper : w - upper) : 0.0f;
      }
      operand[n] = pack(part[0], part[1]);
    }
    back[0] = tables.back[0];
    back[1] = HP == 1 ? 0.0f : tables.back[1];
  };

  // Weighs the slot whose turn it is: its words are operands as they are.
  const auto weigh = [&]() {
    if (weigh_tile == 0) take_weights();
    const uint4* const from = place();
    float c[4] = {0, 0, 0, 0};
    constexpr int BATCH = NT / 2 < 4 ? NT / 2 : 4;
#pragma unroll
    for (int first = 0; first < NT / 2; first += BATCH) {
      uint4 v[BATCH];
#pragma unroll
      for (int i = 0; i < BATCH; ++i) v[i] = from[(first + i) * 128];
#pragma unroll
      for (int i = 0; i < BATCH; ++i) {
        const unsigned a[4] = {v[i].x, v[i].y, v[i].z, v[i].w};
        ptx::mma_f16(c, a, operand[(first + i) * 2], operand[(first + i) * 2 + 1]);
      }
    }
    const int row = (first_tile + place_of(weigh_turn, weigh_tile, mine_here) * TEAMS + team) * KEYS + warp * 16 + g;
    float* const to = sums + (long long)(first_item + weigh_turn * groups) * HP * pitch;
    // Lanes 0 and 2 of four have upper and lower parts of the same sums: one ends with row g, the other with g + 8.
    const bool high = t >= 2;
    const float o0 = __shfl_xor_sync(0xffffffffu, high ? c[0] : c[2], 2), o1 = __shfl_xor_sync(0xffffffffu, high ? c[1] : c[3], 2);
    const int key = row + (high ? 8 : 0);
    if (t % 2 == 0 && key < count_of) {
      to[key] = ((high ? c[2] : c[0]) + o0) * back[0];
      if (HP > 1) to[pitch + key] = ((high ? c[3] : c[1]) + o1) * back[1];
    }
    if (++weigh_tile == mine_here) {
      weigh_tile = 0;
      ++weigh_turn;
      arrive(&tables.weights_empty);
    }
  };

  // Begins with the product of the next tile; beyond the last with that of the last again, which nobody uses.
  int issue_turn = 0, issue_tile = 0, issued = 0;
  const auto issue = [&](float(&s)[NT * 4]) {
    const int index = min(issued, total - 1), turn_of = min(issue_turn, turns - 1), buffer = turn_of & 1,
              stage = team * STAGES + index % STAGES;
    if (issue_tile == 0) ptx::mbarrier_wait(&tables.q_full[buffer], turn_of >> 1 & 1);
    ptx::mbarrier_wait(&tables.full[stage], index / STAGES & 1);
    __syncwarp();
    const uint64_t k_at = ptx::wgmma_descriptor(ptx::smem_address(memory + stage * TILE)),
                   q_at = ptx::wgmma_descriptor(ptx::smem_address(q_tiles + buffer * Q_BYTES));
    settle(s);
    ptx::wgmma_fence();
#pragma unroll
    for (int step = 0; step < D / 16; ++step) {
      ptx::wgmma_bf16_ss(s, k_at + (step / 4 * (TILE / 2) + step % 4 * 32) / 16,
                         q_at + (step / 4 * (Q_BYTES / 2) + step % 4 * 32) / 16, step != 0);
    }
    ptx::wgmma_commit();
    ++issued;
    if (++issue_tile == mine_here) issue_tile = 0, ++issue_turn;
  };

  float sum[NT * 2], reference[NT * 2];
  int turn = 0, tile = 0;
  const auto finish = [&]() {
  // Sums over the tokens: a lane ends with HP queries' of its warp.
#pragma unroll
    for (int m = 0; m < NT; ++m) {
      const bool up = lane & 16;
      const float other = __shfl_xor_sync(0xffffffffu, up ? sum[m] : sum[m + NT], 16);
      sum[m] = (up ? sum[m + NT] : sum[m]) + other;
    }
#pragma unroll
    for (int m = 0; m < NT / 2; ++m) {
      const bool up = lane & 8;
      const float other = __shfl_xor_sync(0xffffffffu, up ? sum[m] : sum[m + NT / 2], 8);
      sum[m] = (up ? sum[m + NT / 2] : sum[m]) + other;
    }
#pragma unroll
    for (int m = 0; m < NT / 4; ++m) {
      const bool up = lane & 4;
      const float other = __shfl_xor_sync(0xffffffffu, up ? sum[m] : sum[m + NT / 4], 4);
      sum[m] = (up ? sum[m + NT / 4] : sum[m]) + other;
    }
    const int first = (lane & 16 ? NT : 0) + (lane & 8 ? NT / 2 : 0) + (lane & 4 ? NT / 4 : 0);
    // Of two warps one adds what the other has.
    float* const row = tables.staged[team * 2 + warp / 2];
    if (warp % 2 == 1) {
      ptx::mbarrier_wait(&tables.staged_empty, (turn & 1) ^ 1);
#pragma unroll
      for (int m = 0; m < NT / 4; ++m) row[(first + m) / 2 * 8 + t * 2 + (first + m) % 2] = sum[m];
    }
    ptx::named_barrier_sync(5 + team * 2 + warp / 2, 64);
    if (warp % 2 == 0) {
#pragma unroll
      for (int m = 0; m < NT / 4; ++m) row[(first + m) / 2 * 8 + t * 2 + (first + m) % 2] += sum[m];
      arrive(&tables.staged_full);
    }
    tile = 0;
    ++turn;
  };
  // The exponentials of a tile, whose product is done.
  const auto keep = [&](int position, float(&s)[NT * 4]) {
    if (lane == 0) {
      ptx::mbarrier_arrive(&tables.empty[team * STAGES + position % STAGES]);
      if (tile + 1 == mine_here) ptx::mbarrier_arrive(&tables.q_empty[turn & 1]);
    }
    if (position >= slots) weigh();
    if (tile == 0) {
      ptx::mbarrier_wait(&tables.reference_full, turn & 1);
#pragma unroll
      for (int n = 0; n < NT; ++n) {
        const unsigned pair = *reinterpret_cast<const unsigned*>(&tables.references[n * 8 + t * 2]);
        reference[n * 2] = ptx::low_bf16(pair);
        reference[n * 2 + 1] = ptx::high_bf16(pair);
        sum[n * 2] = sum[n * 2 + 1] = 0.0f;
      }
      arrive(&tables.reference_empty);
    }
    const int at = (first_tile + place_of(turn, tile, mine_here) * TEAMS + team) * KEYS, row = at + warp * 16 + g;
    if (at + KEYS > S - W + 1) {  // hide what queries do not see
#pragma unroll
      for (int n = 0; n < NT; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int visible = S - W + (n * 8 + t * 2 + e) / HP + 1;
          if (row >= visible) s[n * 4 + e] = -INFINITY;
          if (row + 8 >= visible) s[n * 4 + 2 + e] = -INFINITY;
        }
      }
    }
    uint4* const to = place();
#pragma unroll
    for (int n = 0; n < NT; n += 2) {
      unsigned words[4];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float v[4];
#pragma unroll
        for (int e = 0; e < 4; ++e) v[e] = ptx::ex2(fmaf(s[(n + half) * 4 + e], scale, -reference[(n + half) * 2 + e % 2]));
        sum[(n + half) * 2] += v[0] + v[2];
        sum[(n + half) * 2 + 1] += v[1] + v[3];
        words[half * 2] = pack(v[0], v[1]);
        words[half * 2 + 1] = pack(v[2], v[3]);
      }
      to[n / 2 * 128] = make_uint4(words[0], words[1], words[2], words[3]);
    }
    if (++slot == slots) slot = 0;
    if (++tile == mine_here) finish();
  };

  const auto await = [&](float(&s)[NT * 4]) {
    __syncwarp();
    ptx::wgmma_wait<0>();
    settle(s);
  };
  float s0[NT * 4] = {};
  if constexpr (STAGES == 1) {  // other warpgroups multiply meanwhile
    for (int position = 0; position < total; ++position) {
      issue(s0);
      await(s0);
      keep(position, s0);
    }
  } else {
    float s1[NT * 4] = {};
    issue(s0);
    await(s0);
    for (int position = 0; position < total; position += 2) {
      issue(s1);
      keep(position, s0);
      await(s1);
      issue(s0);
      if (position + 1 < total) keep(position + 1, s1);
      await(s0);
    }
  }
  for (int left = min(slots, total); left > 0; --left) {
    if (total < slots && left == total) slot = 0;
    weigh();
    if (++slot == slots) slot = 0;
  }
}

constexpr int CHOOSERS = 512, DIGITS = 1024, FINE = 128;

/// Sums of the probabilities of `n` tokens from `begin` on of one head, without any bound on the logits: for heads whose
/// exponentials do not fit 16 bits. Slow: every block of the cluster goes over all keys.
__device__ __noinline__ void rescue(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k, float* sums,
                                    int row, int S, int Hq, int group, int begin, int n, float scale) {
  __shared__ float lse[W];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, b = row / Hq, h = row % Hq, Hkv = Hq / group;
  const unsigned short* const keys = k + ((long long)b * S * Hkv + h / group) * D;
  const auto logit = [&](int w, int j) {
    const uint4* const x = reinterpret_cast<const uint4*>(q + (((long long)b * W + w) * Hq + h) * D);
    const uint4* const y = reinterpret_cast<const uint4*>(keys + (long long)j * Hkv * D);
    float s = 0;
    for (int c = 0; c < D / 8; ++c) {
      const uint4 u = __ldg(x + c), v = __ldg(y + c);
      const unsigned us[4] = {u.x, u.y, u.z, u.w}, vs[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
      for (int e = 0; e < 4; ++e)
        s = fmaf(ptx::high_bf16(us[e]), ptx::high_bf16(vs[e]), fmaf(ptx::low_bf16(us[e]), ptx::low_bf16(vs[e]), s));
    }
    return s * scale;
  };
  for (int w = warp; w < W; w += CHOOSERS / 32) {
    float top = -1e30f, sum = 0;
    for (int j = lane; j <= S - W + w; j += 32) {
      const float s = logit(w, j), now = fmaxf(top, s);
      sum = sum * ptx::ex2(top - now) + ptx::ex2(s - now);
      top = now;
    }
    for (int step = 1; step < 32; step *= 2) {
      const float other = __shfl_xor_sync(0xffffffffu, top, step), others = __shfl_xor_sync(0xffffffffu, sum, step),
                  now = fmaxf(top, other);
      sum = sum * ptx::ex2(top - now) + others * ptx::ex2(other - now);
      top = now;
    }
    if (lane == 0) lse[w] = top + ptx::lg2(sum);
  }
  __syncthreads();  // the logarithms of all queries' sums are there
  for (int j = begin + threadIdx.x; j < begin + n; j += CHOOSERS) {
    float sum = 0;
    for (int w = 0; w < W; ++w) sum += ptx::ex2(logit(w, j) - lse[w]);
    sums[j] = sum;
  }
  __threadfence();
}

__device__ __forceinline__ void cluster_barrier() {
  asm volatile("barrier.cluster.arrive.release;\n\tbarrier.cluster.wait.acquire;" ::: "memory");
}

/// Address of the same shared variable in block `rank` of the cluster.
__device__ __forceinline__ unsigned remote(const void* mine, int rank) { return ptx::map_shared(ptx::smem_address(mine), rank); }

/// Of every thread the sum of the values of the threads before it.
__device__ __forceinline__ int sum_before(int value, int* warps) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int sum = value;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_up_sync(0xffffffffu, sum, step);
    if (lane >= step) sum += other;
  }
  if (lane == 31) warps[warp] = sum;
  __syncthreads();  // every warp's sum is visible
  int of_warp = lane < CHOOSERS / 32 ? warps[lane] : 0;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_up_sync(0xffffffffu, of_warp, step);
    if (lane >= step) of_warp += other;
  }
  const int before = __shfl_sync(0xffffffffu, of_warp, warp > 0 ? warp - 1 : 0);
  return (warp > 0 ? before : 0) + sum - value;
}

/// Four sums from token j on, a multiple of four; zero outside. Padding is never read.
__device__ __forceinline__ float4 load_sums(const float* sums, int j, int count) {
  float4 v = make_float4(0, 0, 0, 0);
  if (j >= 0 && j + 4 <= count) {
    v = *reinterpret_cast<const float4*>(sums + j);
  } else if (j >= 0) {
    if (j < count) v.x = sums[j];
    if (j + 1 < count) v.y = sums[j + 1];
    if (j + 2 < count) v.z = sums[j + 2];
  }
  return v;
}

/// What a score is chosen by: its bits, which are ordered as scores that are not negative are, to 14 significant ones.
__device__ __forceinline__ unsigned key_of(float score) { return __float_as_uint(score) >> 10; }

/// Keys of four tokens from j on.
__device__ __forceinline__ uint4 pool(const float* sums, int j, int count) {
  const float4 l = load_sums(sums, j - 4, count), m = load_sums(sums, j, count), r = load_sums(sums, j + 4, count);
  return make_uint4(key_of(l.z + l.w + m.x + m.y + m.z), key_of(l.w + m.x + m.y + m.z + m.w), key_of(m.x + m.y + m.z + m.w + r.x),
                    key_of(m.y + m.z + m.w + r.x + r.y));
}

struct Choice {
  unsigned histogram[DIGITS / 2], fine[3][FINE / 2];  // two counts of 16 bits in a word
  int2 of_warps[CHOOSERS / 32], of_block, found[4];   // found: a digit, and how many scores are above it
  int sums[4][CHOOSERS / 32];
};

/// The digit of the score of rank `missing` among those that all blocks of the cluster have counted, or -1.
__device__ __forceinline__ int2 find(Choice& choice, const unsigned* histogram, int words, int step, int missing) {
  cluster_barrier();  // every block's counts are there
  const int tid = threadIdx.x, word = words - 1 - tid, ranks = gridDim.x;
  int upper = 0, lower = 0;
  if (word >= 0) {
#pragma unroll 4
    for (int r = 0; r < ranks; ++r) {
      unsigned v;
      asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(v) : "r"(remote(&histogram[word], r)) : "memory");
      upper += v >> 16, lower += v & 0xffff;
    }
  }
  const int above = sum_before(upper + lower, choice.sums[step]);
  if (above < missing && missing <= above + upper + lower) {
    const bool is_upper = missing <= above + upper;
    choice.found[step] = make_int2(word * 2 + (is_upper ? 1 : 0), is_upper ? above : above + upper);
  }
  __syncthreads();  // the digit is visible
  return choice.found[step];
}

/// A cluster of gridDim.x blocks per (b, h) = blockIdx.y; a block pools `part` scores, a multiple of four, and keeps them in shared
/// memory (or pools them again each time, if they do not fit). Every block counts its own digits; the counts are added through
/// distributed shared memory, so that all blocks find the same N-th score. The first digit is a 64th of one of the 16 octaves below
/// the largest value that this score can have: scores of a head are alike, and would meet in few places otherwise. Tokens come out
/// in ascending order.
template <bool IS_KEPT>
__global__ void __launch_bounds__(CHOOSERS, 3)
    snapkv_choose(float* sums, int* __restrict__ chosen, const int* flagged, unsigned long long* control, int words,
                  const unsigned short* __restrict__ q, const unsigned short* __restrict__ k, int* lists, int count, int N,
                  int part, int Hq, int group, int heads, float scale) {
  constexpr int WARPS = CHOOSERS / 32;
  extern __shared__ __align__(16) uint4 kept[];
  __shared__ __align__(16) Choice choice;
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, wanted = min(N, count);
  const int rank = blockIdx.x, begin = min(rank * part, count), n = min(part, count - begin), quads = (n + 3) / 4;
  sums += (long long)blockIdx.y * pitch_of(count);
  chosen += (long long)blockIdx.y * N;
  for (int i = tid; i < DIGITS / 2; i += CHOOSERS) choice.histogram[i] = 0;
  for (int i = tid; i < 3 * FINE / 2; i += CHOOSERS) choice.fine[0][i] = 0;
  if (tid < 4) choice.found[tid] = make_int2(-1, 0);
  __syncthreads();  // nothing is counted yet
  ptx::griddepcontrol_wait();
  // What the launch before counted with is zero again for the next run.
  for (int i = (blockIdx.y * gridDim.x + blockIdx.x) * CHOOSERS + tid; i < words; i += gridDim.x * gridDim.y * CHOOSERS)
    control[i] = 0;
  if (flagged[blockIdx.y / heads] != 0) {
    rescue(q, k, sums, blockIdx.y, count + W, Hq, group, begin, n, scale);
    cluster_barrier();  // the sums of all blocks are there
  }
  // All probabilities of a head sum to W at most and each counts POOL times: no score of rank `wanted` is above POOL W / wanted.
  const int lowest = (int)(__float_as_uint((float)(POOL * W) / (float)wanted) >> 17) + 2 - DIGITS;
#pragma unroll 2
  for (int i = tid; i < quads; i += CHOOSERS) {
    const uint4 keys = pool(sums, begin + i * 4, count);
    if (IS_KEPT) kept[i] = keys;
    const unsigned of[4] = {keys.x, keys.y, keys.z, keys.w};
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int digit = min((int)(of[e] >> 7) - lowest, DIGITS - 1);
      if (i * 4 + e < n && digit > 0) atomicAdd(&choice.histogram[digit / 2], digit % 2 ? 65536u : 1u);
    }
  }
  int missing = wanted;  // scores to take among those that share the prefix
  unsigned prefix = 0;   // the digits found so far of the score of rank `wanted`
  const int2 first = find(choice, choice.histogram, DIGITS / 2, 3, missing);
  const bool is_inside = first.x > 0 && first.x < DIGITS - 1;  // else digits of seven bits find it from the top
  if (is_inside) {
    prefix = (unsigned)(lowest + first.x);
    missing -= first.y;
  }
  for (int step = is_inside ? 2 : 0; step < 2; ++step) {
    const int shift = 14 - 7 * step;
    for (int i = tid; i < quads; i += CHOOSERS) {
      const uint4 keys = IS_KEPT ? kept[i] : pool(sums, begin + i * 4, count);
      const unsigned of[4] = {keys.x, keys.y, keys.z, keys.w};
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const unsigned digit = of[e] >> shift & (FINE - 1);
        if (i * 4 + e < n && of[e] >> (shift + 7) == prefix) atomicAdd(&choice.fine[step][digit / 2], digit % 2 ? 65536u : 1u);
      }
    }
    const int2 next = find(choice, choice.fine[step], FINE / 2, step, missing);
    prefix = prefix << 7 | (unsigned)next.x;
    missing -= next.y;
  }

  // What may be chosen, in lists: a warp's neighbouring tokens, in order, each with its last digit, or 255 if it is above any.
  // A list takes the place of keys that its warp has read.
  const int per_warp = (quads + WARPS * 32 - 1) / (WARPS * 32) * 32;  // quads
  const int from = min(quads, warp * per_warp), to = min(quads, from + per_warp);
  int* const list = (IS_KEPT ? reinterpret_cast<int*>(kept) : lists + (long long)blockIdx.y * pitch_of(count) + begin) + from * 4;
  int listed = 0;
  for (int first = from; first < to; first += 32) {
    const int i = first + lane;
    unsigned of[4] = {0, 0, 0, 0};
    int mine = 0;
    if (i < to) {
      const uint4 keys = IS_KEPT ? kept[i] : pool(sums, begin + i * 4, count);
      of[0] = keys.x, of[1] = keys.y, of[2] = keys.z, of[3] = keys.w;
#pragma unroll
      for (int e = 0; e < 4; ++e) mine += i * 4 + e < n && of[e] >> 7 >= prefix ? 1 : 0;
    }
    if (!__any_sync(0xffffffffu, mine != 0)) continue;
    int until = mine;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const int other = __shfl_up_sync(0xffffffffu, until, step);
      if (lane >= step) until += other;
    }
    int at = listed + until - mine;
    listed += __shfl_sync(0xffffffffu, until, 31);
    if (mine != 0) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        if (i * 4 + e >= n || of[e] >> 7 < prefix) continue;
        const unsigned digit = of[e] & (FINE - 1);
        const bool is_equal = of[e] >> 7 == prefix;
        list[at++] = (i * 4 + e) << 8 | (is_equal ? (int)digit : 255);
        if (is_equal) atomicAdd(&choice.fine[2][digit / 2], digit % 2 ? 65536u : 1u);
      }
    }
  }
  const int2 last = find(choice, choice.fine[2], FINE / 2, 2, missing);
  const int threshold = last.x;
  missing -= last.y;

  // How many of a warp's are above and how many equal?
  int counts = 0;  // above in the lower half, equal in the upper
  for (int i = lane; i < listed; i += 32) {
    const int digit = list[i] & 255;
    counts += digit > threshold ? 1 : digit == threshold ? 1 << 16 : 0;
  }
#pragma unroll
  for (int step = 1; step < 32; step *= 2) counts += __shfl_xor_sync(0xffffffffu, counts, step);
  if (lane == 0) choice.of_warps[warp] = make_int2(counts & 0xffff, counts >> 16);
  __syncthreads();  // every warp's counts are visible
  int above_before = 0, equal_before = 0, above_all = 0, equal_all = 0;
#pragma unroll
  for (int i = 0; i < WARPS; ++i) {
    const int2 other = choice.of_warps[i];
    if (i < warp) above_before += other.x, equal_before += other.y;
    above_all += other.x, equal_all += other.y;
  }
  if (tid == 0) choice.of_block = make_int2(above_all, equal_all);
  cluster_barrier();  // every block's counts are visible
  for (int r = 0; r < rank; ++r) {
    int x, y;
    asm volatile("ld.shared::cluster.v2.s32 {%0, %1}, [%2];" : "=r"(x), "=r"(y) : "r"(remote(&choice.of_block, r)) : "memory");
    above_before += x, equal_before += y;
  }
  cluster_barrier();  // nobody reads another block's shared memory any more: blocks may end
  for (int first = 0; first < listed; first += 32) {
    const int entry = first + lane < listed ? list[first + lane] : 0;
    const int digit = first + lane < listed ? entry & 255 : -1;
    const unsigned above = __ballot_sync(0xffffffffu, digit > threshold), equal = __ballot_sync(0xffffffffu, digit == threshold),
                   before = (1u << lane) - 1;
    const int e_before = equal_before + __popc(equal & before);
    if (digit > threshold || (digit == threshold && e_before < missing))
      chosen[above_before + __popc(above & before) + min(e_before, missing)] = begin + (entry >> 8);
    above_before += __popc(above);
    equal_before += __popc(equal);
  }
  if (rank == 0) {
    for (int i = wanted + tid; i < N; i += CHOOSERS) chosen[i] = -1;
  }
}

template <int HP>
constexpr void plan_of(const Problem& p, kl::Plan& plan, const char* near_name, const char* far_name) {
  constexpr int N = W * HP, SLOT = HP * 4096, RING = TEAMS * STAGES_OF<HP> * TILE;
  const int group = p.Hq / p.Hkv, items = p.B * p.Hq / HP, tiles = kl::cdiv(p.S, KEYS), sms = p.device.sms;
  // Items of the same keys go side by side, so that these are read once.
  const long long side_by_side = kl::min(SIBLINGS, kl::max(1, group / HP));
  const int chunk = kl::max(CHUNK, kl::round_up(kl::cdiv((int)(tiles * side_by_side), sms), TEAMS)), parts = kl::cdiv(tiles, chunk);
  const int groups = kl::clamp(sms / parts, 1, items), own = kl::cdiv(chunk, TEAMS);
  const int room = (p.device.shared_bytes_max - (int)sizeof(Tables<HP>) - RING - 2 * N * D * 2) / (TEAMS * SLOT);
  const int slots = room > own ? kl::min(room, own + SLACK + 1) : own + SLACK, here = kl::min(room, slots), blocks = groups * parts,
            count = p.S - W;
  const long long rows = (long long)p.B * p.Hq;
  const auto references = plan.workspace(kl::bf16, (long long)items * N);
  const int words = items * COPIES_OF<HP> * N + (items + 1) / 2;
  const auto control = plan.workspace(kl::i64, words, words * 8 <= 65536 ? kl::self_clearing : kl::zeroed);
  const auto flagged = plan.workspace(kl::i32, items);
  const auto far = plan.workspace(kl::u8, kl::max(16ll, (long long)blocks * TEAMS * (slots - here) * SLOT));
  const auto sums = plan.workspace(kl::f32, rows * pitch_of(count));
  const auto q_map = plan.tensor_map(p.q, {3, 2, 1, 0}, {64, HP, W, 1}, kl::swizzle_128);
  const auto k_map = plan.tensor_map(p.k, {3, 2, 1, 0}, {64, 1, KEYS, 1}, kl::swizzle_128);
  plan.launch(slots > here ? far_name : near_name)
      .grid(blocks)
      .block(128 + 128 * TEAMS)
      .cooperative()
      .shared(RING + 2 * N * D * 2 + TEAMS * here * SLOT + (int)sizeof(Tables<HP>))
      .arg(q_map)
      .arg(k_map)
      .arg(p.q)
      .arg(p.k)
      .arg(references)
      .arg(control)
      .arg(flagged)
      .arg(far)
      .arg(sums)
      .arg(p.S)
      .arg(p.Hq)
      .arg(group)
      .arg(items)
      .arg(chunk)
      .arg(parts)
      .arg(slots)
      .arg(here)
      .arg(p.scale * 1.44269504f);
  int pieces = 1;
  while (pieces < 8 && pieces * CHOOSE_PART < count && rows * pieces * 2 <= 3 * sms) pieces *= 2;
  const int piece = kl::round_up(kl::cdiv(count, pieces), 4);
  const bool is_kept = piece <= 40 * 1024;  // words of shared memory
  const auto lists = plan.workspace(kl::i32, is_kept ? 4 : rows * pitch_of(count));
  plan.launch(is_kept ? "snapkv_choose<true>" : "snapkv_choose<false>")
      .grid(pieces, rows)
      .block(CHOOSERS)
      .cluster(pieces, 1, 1)
      .shared(is_kept ? piece * 4 : 16)
      .programmatic()
      .arg(sums)
      .arg(p.chosen)
      .arg(flagged)
      .arg(control)
      .arg(words)
      .arg(p.q)
      .arg(p.k)
      .arg(lists)
      .arg(count)
      .arg(p.N)
      .arg(piece)
      .arg(p.Hq)
      .arg(group)
      .arg(HP)
      .arg(p.scale * 1.44269504f);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int group = p.Hq / p.Hkv;
  if (group % 2 == 0)
    plan_of<2>(p, plan, "snapkv_stream<2, false>", "snapkv_stream<2, true>");
  else
    plan_of<1>(p, plan, "snapkv_stream<1, false>", "snapkv_stream<1, true>");
}
