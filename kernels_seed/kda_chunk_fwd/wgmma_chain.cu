// SPDX-License-Identifier: Apache-2.0
// Kimi Delta Attention in chunks on wgmma: q, k, v [B, T, H, D] (bf16), g [B, T, H, D], beta [B, T, H] (f32), states.
//
// Technique: within a chunk of 64 tokens the updates u solve a unit triangular system, and are U = M^-1 diag(beta)
// (V - K' S) with K' the keys decayed from the chunk's start. Two roles:
//   prepare  products of queries and keys with keys, decayed from one to the other; of both halves of M the inverse, by blocks
//            (substitution, then products in tf32); decayed queries and keys in bf16. A decayed product is no product of two,
//            but for all pairs on either side of a border it is one of decays up to it and from it on, neither positive: borders
//            in the middle of 64, 32, 16, 8, 4 and 2 tokens make six passes of mma.sync, whose operands are made in registers.
//            Where no channel decays by more than 2^-100 within the chunk one border will do, its start: keys that grow towards
//            it, and one pass of wgmma
//   walk     a warpgroup owns 64 value columns of a head and walks the chunks. Its part of the state lies transposed,
//            S^T [64, D], in accumulators, which packed to bf16 are the A operand of the next products as they are. Updates of a
//            chunk's second half follow when what the first half changes in them is known
// Where there are heads enough a block has both: two warpgroups prepare a chunk, whose tiles stay in shared memory, and the walking
// ones fetch the next tokens for them and sum up their decays, since they wait for M^-1 anyhow. Else kda_prepare does it for all
// chunks at once, and kda_chain walks, with a producer that fetches a chunk ahead.
// With alike keys and long memory, what is rounded within a chunk is set right by the next one only: so M^-1, what it is
// multiplied with, and the updates take part in two bf16 each (with one, single elements of the state erred by up to 1.1 of the
// gate; now 0.55). Runs on sm_90.
//
// Ladder:
//   naive.cu         token after token, three barriers each
//   chunked_mma.cu   16 tokens a step on mma.sync, everything but the chain of states in parallel
//   this file        64 tokens a step on wgmma and TMA, weights of pairs on tensor cores, nothing of a chunk through memory
//   left to do       few heads: 3.8 GB are moved where 1.6 suffice, for the chain reads what the preparation wrote

// tune: GROUPS_MAX = 2 | 1
// tune: FUSED = 1 | 0

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int CHUNK = 64, PREPARERS = 256, PANEL = 64 * 128;  // PANEL: bytes of a tile of 64 rows and 64 columns
constexpr float LOG2E = 1.44269504f;
constexpr int PREPARING = 64, WALKING = 192;  // registers a thread, of both roles in one block

/// What kda_prepare leaves of a chunk, as kda_chain keeps it in shared memory: rows of 128 bytes, swizzled; rows beyond
/// the last token are zero.
template <int D>
struct Prepared {
  unsigned char q[D / 64][PANEL], k[D / 64][PANEL], k_left[D / 64][PANEL];  // decayed from the start; k_left: until the end
  unsigned char by_query[PANEL], inverse[PANEL], rest[PANEL];                // rest: what rounding the inverse has left
  float whole[D];  // the decay of the whole chunk
  float unused[256 - D];
  static constexpr int BYTES = (3 * D / 64 + 3) * PANEL + 4 * D;  // without these
};

/// This thread's number; what is reckoned from it is not kept in registers from before a loop.
__device__ __forceinline__ int thread_here() {
  int thread = threadIdx.x;
  asm volatile("" : "+r"(thread));
  return thread;
}

constexpr int EDGE = CHUNK + 4, HALF = CHUNK / 2;  // floats of a row of a square; tokens of a half

/// Byte of column `column` of row `row` in a panel.
__device__ __forceinline__ int place(int row, int column) { return row * 128 + ((column / 8 ^ (row & 7)) * 16) + column % 8 * 2; }

template <int D, int PAD>
struct Work {
  static constexpr int ROW = D + PAD;
  unsigned short q[CHUNK][ROW], k[CHUNK][ROW];
  float sum[CHUNK][ROW];       // of g in base-2 units, up to a token
  float by_key[CHUNK][EDGE];  // products of keys, times the rate of the row
  float totals[PREPARERS / D][D], rate[2][CHUNK];  // rates of this chunk or the next
  float whole[D];                                  // the decay of the whole chunk
  float own[CHUNK];                                // a query's product with its own key
  unsigned steep[PREPARERS / 32];                  // whether a channel that a warp saw decays further than one border reaches
};

/// Pairs of bf16, rounded.
__device__ __forceinline__ unsigned multiply(unsigned a, unsigned b) {
  unsigned product;
  asm("mul.rn.bf16x2 %0, %1, %2;" : "=r"(product) : "r"(a), "r"(b));
  return product;
}

/// Rows g and g + 8 of 16 tokens, 16 channels, in the order of an operand.
struct Tokens {
  float2 sum[4];
  unsigned key[4], query[4];
};

/// From token `row` and channel 16 `step` on.
template <int D, int PAD>
__device__ __forceinline__ void load(Tokens& tokens, const Work<D, PAD>& work, int row, int step) {
  const int lane = thread_here() % 32;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int token = row + lane / 4 + i % 2 * 8, d = step * 16 + lane % 4 * 2 + i / 2 * 8;
    tokens.sum[i] = *reinterpret_cast<const float2*>(&work.sum[token][d]);
    tokens.key[i] = *reinterpret_cast<const unsigned*>(&work.k[token][d]);
    tokens.query[i] = *reinterpret_cast<const unsigned*>(&work.q[token][d]);
  }
}

/// Keys in x and queries in y, decayed between each token and the border behind token `border(g or g + 8)`.
template <int D, int PAD, typename Border>
__device__ __forceinline__ void decay(unsigned (&x)[4], unsigned (&y)[4], const Tokens& tokens, const Work<D, PAD>& work, int step, const Border& border) {
  const int lane = thread_here() % 32;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 from = *reinterpret_cast<const float2*>(&work.sum[border(lane / 4 + i % 2 * 8)][step * 16 + lane % 4 * 2 + i / 2 * 8]);
    const unsigned by = ptx::pack_bf16(ptx::ex2(-fabsf(tokens.sum[i].x - from.x)), ptx::ex2(-fabsf(tokens.sum[i].y - from.y)));
    x[i] = multiply(tokens.key[i], by);
    y[i] = multiply(tokens.query[i], by);
  }
}

/// Two numbers of the triangular system or its inverse, in two bf16 each.
template <int D>
__device__ __forceinline__ void put_pair(Prepared<D>& to, int row, int column, float first, float second) {
  const unsigned pair = ptx::pack_bf16(first, second);
  *reinterpret_cast<unsigned*>(to.inverse + place(row, column)) = pair;
  *reinterpret_cast<unsigned*>(to.rest + place(row, column)) = ptx::pack_bf16(first - ptx::low_bf16(pair), second - ptx::high_bf16(pair));
}

/// A token's products with two neighbouring ones.
template <int D, int PAD>
__device__ __forceinline__ void put(Work<D, PAD>& work, Prepared<D>& to, const float* rates, int row, int column, float by_key, float by_key_next,
                                    float by_query, float by_query_next) {
  if (row >= HALF && column < HALF) {
    put_pair(to, row, column, by_key, by_key_next);
  } else {
    const float rate = rates[row];
    *reinterpret_cast<float2*>(&work.by_key[row][column]) = make_float2(by_key * rate, by_key_next * rate);
  }
  *reinterpret_cast<unsigned*>(to.by_query + place(row, column)) = ptx::pack_bf16(by_query, by_query_next);
}

/// Products of 16 tokens with those of the other half of the same 2 * BORDER.
template <int BORDER>
struct Halves {
  float keys[2][4] = {}, queries[2][4] = {};

  template <int D, int PAD>
  __device__ __forceinline__ void add(const Tokens& tokens, const Work<D, PAD>& work, int first, int step) {
    unsigned x[4], y[4];
    decay<D>(x, y, tokens, work, step, [&](int token) { return first + (token & ~(2 * BORDER - 1)) + BORDER - 1; });
    ptx::mma_bf16(keys[0], x, x[0], x[2]);
    ptx::mma_bf16(queries[0], y, x[0], x[2]);
    if (BORDER < 8) {
      ptx::mma_bf16(keys[1], x, x[1], x[3]);
      ptx::mma_bf16(queries[1], y, x[1], x[3]);
    }
  }

  template <int D, int PAD>
  __device__ __forceinline__ void put_all(Work<D, PAD>& work, Prepared<D>& to, const float* rates, int first, float scale) const {
    const int lane = thread_here() % 32;
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = lane / 4 + half * 8, column = n * 8 + lane % 4 * 2;
        if ((row & BORDER) != 0 && (row ^ column) / BORDER == 1)
          put(work, to, rates, first + row, first + column, keys[n][half * 2], keys[n][half * 2 + 1], queries[n][half * 2] * scale,
              queries[n][half * 2 + 1] * scale);
      }
    }
  }
};

__device__ __forceinline__ unsigned to_tf32(float x) {
  unsigned rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
  return rounded;
}

/// d (16 x 8) = a b of row-major squares in shared memory, SIZE summed up.
template <int SIZE>
__device__ __forceinline__ void product(float (&d)[4], const float* a, const float* b) {
  const int lane = thread_here() % 32, g = lane / 4, t = lane % 4;
  d[0] = d[1] = d[2] = d[3] = 0.0f;
#pragma unroll
  for (int i = 0; i < SIZE; i += 8) {
    const unsigned a0 = to_tf32(a[g * EDGE + i + t]), a1 = to_tf32(a[(g + 8) * EDGE + i + t]);
    const unsigned a2 = to_tf32(a[g * EDGE + i + t + 4]), a3 = to_tf32(a[(g + 8) * EDGE + i + t + 4]);
    const unsigned b0 = to_tf32(b[(i + t) * EDGE + g]), b1 = to_tf32(b[(i + t + 4) * EDGE + g]);
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  }
}

/// Times -1 or 1, to rows of a square.
__device__ __forceinline__ void store(float* to, const float (&d)[4], float sign) {
  const int lane = thread_here() % 32;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    *reinterpret_cast<float2*>(to + (lane / 4 + half * 8) * EDGE + lane % 4 * 2) = make_float2(sign * d[half * 2], sign * d[half * 2 + 1]);
  }
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

/// Accumulators as A operands of the next product.
template <int N>
__device__ __forceinline__ void pack(unsigned (&a)[N / 8][4], const float (&d)[N]) {
#pragma unroll
  for (int i = 0; i < N / 8; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) a[i][j] = ptx::pack_bf16(d[i * 8 + j * 2], d[i * 8 + j * 2 + 1]);
  }
}

/// What packing has rounded off.
template <int N>
__device__ __forceinline__ void pack_rest(unsigned (&rest)[N / 8][4], const unsigned (&a)[N / 8][4], const float (&d)[N]) {
#pragma unroll
  for (int i = 0; i < N / 8; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j)
      rest[i][j] = ptx::pack_bf16(d[i * 8 + j * 2] - ptx::low_bf16(a[i][j]), d[i * 8 + j * 2 + 1] - ptx::high_bf16(a[i][j]));
  }
}

/// A channel may decay by this many halvings within a chunk for `prepare_gentle`.
constexpr float STEEP = 100.0f;

/// Starts to bring `tokens` tokens from `token` on, the rest zero.
template <int D, int PAD>
__device__ __forceinline__ void fetch(Work<D, PAD>& work, float* rates, const unsigned short* q, const unsigned short* k, const float* g,
                                      const float* beta, long long token, int tokens, int H) {
  const int tid = thread_here();
#pragma unroll 1
  for (int i = tid; i < CHUNK * D / 4; i += PREPARERS) {
    const int row = i / (D / 4), vector = i % (D / 4);
    const bool is_valid = row < tokens;
    const long long at = is_valid ? (token + (long long)row * H) * D : 0;
    ptx::cp_async_16(&work.sum[row][vector * 4], g + at + vector * 4, is_valid);
    if (vector < D / 8) {
      ptx::cp_async_16(&work.q[row][vector * 8], q + at + vector * 8, is_valid);
    } else {
      ptx::cp_async_16(&work.k[row][(vector - D / 8) * 8], k + at + (vector - D / 8) * 8, is_valid);
    }
  }
  ptx::cp_async_commit();
  if (tid < CHUNK) rates[tid] = tid < tokens ? beta[token + (long long)tid * H] : 0.0f;
}

/// What is too short for TMA.
__device__ __forceinline__ void fetch_rates(float* rates, const float* beta, long long token, int tokens, int H) {
  const int tid = thread_here();
  if (tid < CHUNK) {
    const bool is_valid = tid < tokens;
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(ptx::smem_address(rates + tid)),
                 "l"(beta + token + (is_valid ? (long long)tid * H : 0)), "r"(is_valid ? 4 : 0)
                 : "memory");
  }
  ptx::cp_async_commit();
}

/// The products of a chunk whose channels all decay by less than STEEP: one border will do, the chunk's start. Queries and keys
/// decayed from it are wanted anyhow; their partners, keys that grow towards it, stay in range.
template <int D, bool IS_SHARED, int PAD, typename Sync, typename Room, typename Tiles, typename Fetch>
__device__ __forceinline__ void prepare_gentle(Work<D, PAD>& work, Prepared<D>& to, unsigned char* left, unsigned char* tiles, unsigned char* behind, const float* rates, float scale,
                                               const Sync& sync, const Room& room, const Tiles& tiles_full, const Fetch& fetch_next) {
  const int tid = thread_here(), lane = tid % 32, warp = tid / 32;
  room(false);
  if (tid < D) to.whole[tid] = work.whole[tid];
  struct Item {
    uint4 key, query;
    float4 sums[2];
  };
  const auto get = [&](int i) {
    const int row = i / (D / 8), d = i % (D / 8) * 8;
    Item item;
    item.key = *reinterpret_cast<const uint4*>(&work.k[row][d]), item.query = *reinterpret_cast<const uint4*>(&work.q[row][d]);
    item.sums[0] = *reinterpret_cast<const float4*>(&work.sum[row][d]), item.sums[1] = *reinterpret_cast<const float4*>(&work.sum[row][d + 4]);
    return item;
  };
  const auto put_item = [&](int i, const Item& item) {
    const int row = i / (D / 8), d = i % (D / 8) * 8;
    const uint4 key = item.key, query = item.query;
    const unsigned keys[4] = {key.x, key.y, key.z, key.w}, queries[4] = {query.x, query.y, query.z, query.w};
    const auto& sums = item.sums;
    const float* const wholes = &work.whole[d];
    const float4 ends[2] = {*reinterpret_cast<const float4*>(wholes), *reinterpret_cast<const float4*>(wholes + 4)};
    unsigned q_since[4], k_since[4], k_left[4], k_grown[4];
    float own = 0.0f;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float4 four = sums[j / 2], end = ends[j / 2];
      const float2 sum = j % 2 == 0 ? make_float2(four.x, four.y) : make_float2(four.z, four.w);
      const float2 whole = j % 2 == 0 ? make_float2(end.x, end.y) : make_float2(end.z, end.w);
      const float low = ptx::ex2(sum.x), high = ptx::ex2(sum.y);
      const float k_low = ptx::low_bf16(keys[j]), k_high = ptx::high_bf16(keys[j]);
      const float q_low = ptx::low_bf16(queries[j]), q_high = ptx::high_bf16(queries[j]);
      own = fmaf(q_low, k_low, fmaf(q_high, k_high, own));
      q_since[j] = ptx::pack_bf16(q_low * (low * scale), q_high * (high * scale));
      k_since[j] = ptx::pack_bf16(k_low * low, k_high * high);
      const float grown_low = k_low * ptx::ex2(-sum.x), grown_high = k_high * ptx::ex2(-sum.y);
      k_left[j] = ptx::pack_bf16(grown_low * whole.x, grown_high * whole.y);
      k_grown[j] = ptx::pack_bf16(grown_low, grown_high);
    }
#pragma unroll
    for (int step = 1; step < D / 8; step *= 2) own += __shfl_xor_sync(0xffffffffu, own, step);
    if (d == 0) work.own[row] = own * scale;
    const int panel = d / 64, at = place(row, d % 64);
    *reinterpret_cast<uint4*>(to.q[panel] + at) = make_uint4(q_since[0], q_since[1], q_since[2], q_since[3]);
    *reinterpret_cast<uint4*>(to.k[panel] + at) = make_uint4(k_since[0], k_since[1], k_since[2], k_since[3]);
    *reinterpret_cast<uint4*>(left + panel * PANEL + at) = make_uint4(k_left[0], k_left[1], k_left[2], k_left[3]);
    *reinterpret_cast<uint4*>(behind + panel * PANEL + at) = make_uint4(k_grown[0], k_grown[1], k_grown[2], k_grown[3]);
    if (!IS_SHARED) {
      *reinterpret_cast<uint4*>(tiles + panel * PANEL + at) = make_uint4(q_since[0], q_since[1], q_since[2], q_since[3]);
      *reinterpret_cast<uint4*>(tiles + D * CHUNK * 2 + panel * PANEL + at) = make_uint4(k_since[0], k_since[1], k_since[2], k_since[3]);
    }
  };
  if (IS_SHARED) {
#pragma unroll 1
    for (int i = tid; i < CHUNK * D / 8; i += PREPARERS) put_item(i, get(i));
  } else {  // what is made lies where it was made of
    constexpr int ITEMS = CHUNK * D / 8 / PREPARERS;
    Item items[ITEMS];
#pragma unroll
    for (int i = 0; i < ITEMS; ++i) items[i] = get(tid + i * PREPARERS);
    sync();
#pragma unroll
    for (int i = 0; i < ITEMS; ++i) put_item(tid + i * PREPARERS, items[i]);
  }
  ptx::fence_proxy_async();
  sync();  // tiles are complete, and nobody reads queries, keys and sums any more
  tiles_full();
  fetch_next();
  float products[32];
#pragma unroll
  for (int i = 0; i < 32; ++i) products[i] = 0.0f;
  const unsigned char* const tile = warp < 4 ? tiles : tiles + D * CHUNK * 2;
  settle(products);
  ptx::wgmma_fence();
#pragma unroll
  for (int step = 0; step < D / 16; ++step) {
    const int at = step / 4 * PANEL + step % 4 * 32;
    ptx::wgmma_bf16_ss(products, ptx::wgmma_descriptor(ptx::smem_address(tile + at)), ptx::wgmma_descriptor(ptx::smem_address(behind + at)), step > 0);
  }
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
  settle(products);
  room(true);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = warp % 4 * 16 + lane / 4 + half * 8;
    const float rate = rates[row], own = work.own[row];
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      const int column = n * 8 + lane % 4 * 2;
      const float first = products[n * 4 + half * 2], second = products[n * 4 + half * 2 + 1];
      if (warp < 4) {
        *reinterpret_cast<unsigned*>(to.by_query + place(row, column)) =
            ptx::pack_bf16(column < row ? first : column == row ? own : 0.0f, column + 1 < row ? second : column + 1 == row ? own : 0.0f);
      } else if (warp >= 6 && n < HALF / 8) {
        put_pair(to, row, column, first, second);
      } else {
        *reinterpret_cast<float2*>(&work.by_key[row][column]) = make_float2(column < row ? first * rate : 0.0f, column + 1 < row ? second * rate : 0.0f);
      }
    }
  }
  sync();  // the triangular system is visible
}

/// Sums of g by THREADS threads, each of which takes one channel of a part of the tokens, and whether a channel is steep.
template <int D, int THREADS, int PAD, typename Sync>
__device__ __forceinline__ void sum_gates(Work<D, PAD>& work, int tid, const Sync& sync) {
  constexpr int PARTS = THREADS / D, TOKENS = CHUNK / PARTS;
  const int d = tid % D, part = tid / D;
  float sum[TOKENS];
#pragma unroll
  for (int t = 0; t < TOKENS; ++t) sum[t] = work.sum[part * TOKENS + t][d] * LOG2E;
#pragma unroll
  for (int t = 1; t < TOKENS; ++t) sum[t] += sum[t - 1];
  work.totals[part][d] = sum[TOKENS - 1];
  sync();  // every part's sum is visible
  float before = 0;
#pragma unroll
  for (int i = 0; i < PARTS - 1; ++i) before += i < part ? work.totals[i][d] : 0.0f;
#pragma unroll
  for (int t = 0; t < TOKENS; ++t) work.sum[part * TOKENS + t][d] = before + sum[t];
  if (part == PARTS - 1) work.whole[d] = ptx::ex2(before + sum[TOKENS - 1]);
  const unsigned is_steep = __ballot_sync(0xffffffffu, before + sum[TOKENS - 1] < -STEEP);
  if (tid % 32 == 0) work.steep[tid / 32] = is_steep;
}

/// What the chain wants of a chunk that is in `work`, by PREPARERS threads: `sync` is their barrier, `room` waits until `to` may be
/// written, `tiles_full` is called when decayed queries and keys are complete, `fetch_next` when nobody reads queries, keys and
/// gates any more. IS_SHARED: `to` is in shared memory. `left`: where keys decayed until the chunk's end go; where products of gentle
/// decays find queries and keys (`tiles`) and keys that grow (`behind`).
template <int D, int STEPS, bool IS_SHARED, int WARPS, int PAD, typename Sync, typename Room, typename Tiles, typename Fetch>
__device__ __forceinline__ void prepare(Work<D, PAD>& work, Prepared<D>& to, float (&x)[CHUNK][EDGE], float (&y)[32][EDGE], unsigned char* left, unsigned char* tiles, unsigned char* behind,
                                        const float* rates, float scale, const Sync& sync, const Room& room, const Tiles& tiles_full,
                                        const Fetch& fetch_next) {
  const int tid = thread_here(), lane = tid % 32, warp = tid / 32;
  unsigned is_steep = 0;
#pragma unroll
  for (int i = 0; i < WARPS; ++i) is_steep |= work.steep[i];
  if (!is_steep) {
    prepare_gentle<D, IS_SHARED>(work, to, left, tiles, behind, rates, scale, sync, room, tiles_full, fetch_next);
  } else {
  if (warp < 4) {
    const int at = warp * 16;
    Halves<8> eights;
    Halves<4> fours;
    Halves<2> twos;
#pragma unroll STEPS
    for (int step = 0; step < D / 16; ++step) {
      Tokens tokens;
      load(tokens, work, at, step);
      eights.add(tokens, work, at, step);
      fours.add(tokens, work, at, step);
      twos.add(tokens, work, at, step);
    }
    room(true);
    eights.put_all(work, to, rates, at, scale);
    fours.put_all(work, to, rates, at, scale);
    twos.put_all(work, to, rates, at, scale);
  } else {
    {  // neighbours, and each query with its own key; zeros above
      const int at = (warp - 4) * 16;
      Halves<1> ones;
      float own[2][4] = {};
#pragma unroll STEPS
      for (int step = 0; step < D / 16; ++step) {
        Tokens tokens;
        load(tokens, work, at, step);
        ones.add(tokens, work, at, step);
        ptx::mma_bf16(own[0], tokens.query, tokens.key[0], tokens.key[2]);
        ptx::mma_bf16(own[1], tokens.query, tokens.key[1], tokens.key[3]);
      }
      room(true);
#pragma unroll
      for (int n = 0; n < 2; ++n) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int row = lane / 4 + half * 8, column = n * 8 + lane % 4 * 2;
          if (column + 1 < row) continue;
          const bool is_odd = row == column + 1;
          put(work, to, rates, at + row, at + column, is_odd ? ones.keys[n][half * 2] : 0.0f, 0.0f,
              is_odd ? ones.queries[n][half * 2] * scale : row == column ? own[n][half * 2] * scale : 0.0f,
              is_odd ? own[n][half * 2 + 1] * scale : 0.0f);
        }
      }
    }
    // Pairs of different 16: (1, 0); (2, 0) and (2, 1); (3, 0) and (3, 1); (3, 2).
    const int rows = warp == 7 ? 3 : warp - 3, from = warp == 7 ? 2 : 0, count = warp == 5 || warp == 6 ? 2 : 1;
    const int border = warp == 4 ? 15 : warp == 7 ? 47 : 31;
    float of_key[4][4] = {}, of_query[4][4] = {};
#pragma unroll STEPS
    for (int step = 0; step < D / 16; ++step) {
      Tokens tokens;
      unsigned x[4], y[4], b[4], unused[4];
      load(tokens, work, rows * 16, step);
      decay<D>(x, y, tokens, work, step, [&](int) { return border; });
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        if (i >= count) continue;
        load(tokens, work, (from + i) * 16, step);
        decay<D>(b, unused, tokens, work, step, [&](int) { return border; });
#pragma unroll
        for (int n = 0; n < 2; ++n) {
          ptx::mma_bf16(of_key[i * 2 + n], x, b[n], b[n + 2]);
          ptx::mma_bf16(of_query[i * 2 + n], y, b[n], b[n + 2]);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i >= 2 * count) continue;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        put(work, to, rates, rows * 16 + lane / 4 + half * 8, from * 16 + i * 8 + lane % 4 * 2, of_key[i][half * 2], of_key[i][half * 2 + 1],
            of_query[i][half * 2] * scale, of_query[i][half * 2 + 1] * scale);
      }
    }
  }
  if (tid < D) to.whole[tid] = ptx::ex2(work.sum[CHUNK - 1][tid]);
  // Decayed queries and keys, eight channels a thread; what lies above the diagonal of the products is zero.
#pragma unroll
  for (int i = tid; i < CHUNK * D / 8; i += PREPARERS) {
    const int row = i / (D / 8), d = i % (D / 8) * 8;
    const uint4 key = *reinterpret_cast<const uint4*>(&work.k[row][d]), query = *reinterpret_cast<const uint4*>(&work.q[row][d]);
    const unsigned keys[4] = {key.x, key.y, key.z, key.w}, queries[4] = {query.x, query.y, query.z, query.w};
    unsigned q_since[4], k_since[4], k_left[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float2 sum = *reinterpret_cast<const float2*>(&work.sum[row][d + j * 2]);
      const float2 end = *reinterpret_cast<const float2*>(&work.sum[CHUNK - 1][d + j * 2]);
      const float low = ptx::ex2(sum.x), high = ptx::ex2(sum.y);
      q_since[j] = ptx::pack_bf16(ptx::low_bf16(queries[j]) * low * scale, ptx::high_bf16(queries[j]) * high * scale);
      k_since[j] = ptx::pack_bf16(ptx::low_bf16(keys[j]) * low, ptx::high_bf16(keys[j]) * high);
      k_left[j] = ptx::pack_bf16(ptx::low_bf16(keys[j]) * ptx::ex2(end.x - sum.x), ptx::high_bf16(keys[j]) * ptx::ex2(end.y - sum.y));
    }
    const int panel = d / 64, at = place(row, d % 64);
    *reinterpret_cast<uint4*>(to.q[panel] + at) = make_uint4(q_since[0], q_since[1], q_since[2], q_since[3]);
    *reinterpret_cast<uint4*>(to.k[panel] + at) = make_uint4(k_since[0], k_since[1], k_since[2], k_since[3]);
    *reinterpret_cast<uint4*>(left + panel * PANEL + at) = make_uint4(k_left[0], k_left[1], k_left[2], k_left[3]);
  }
  for (int i = tid; i < CHUNK * 8; i += PREPARERS) {
    const int row = i / 8, column = i % 8 * 8;
    if (column / 16 > row / 16) *reinterpret_cast<uint4*>(to.by_query + place(row, column)) = make_uint4(0, 0, 0, 0);
  }
  if (IS_SHARED) ptx::fence_proxy_async();
  sync();  // the triangular system is visible, and nobody reads queries, keys and sums any more
  tiles_full();
  fetch_next();
  }
  // M^-1: columns of the four blocks on the diagonal by substitution, then blocks below as -inverse * block * inverse.
  if (warp < 4) {
    const int at = warp * 16, column = lane;
    if (lane < 16) {
      float of[16];
#pragma unroll
      for (int t = 0; t < 16; ++t) {
        float sums[2] = {t == column ? 1.0f : 0.0f, 0.0f};
#pragma unroll
        for (int j = 0; j < t; j += 4) {
          const float4 of_keys = *reinterpret_cast<const float4*>(&work.by_key[at + t][at + j]);
          sums[0] = fmaf(-of_keys.x, of[j], sums[0]);
          if (j + 1 < t) sums[1] = fmaf(-of_keys.y, of[j + 1], sums[1]);
          if (j + 2 < t) sums[0] = fmaf(-of_keys.z, of[j + 2], sums[0]);
          if (j + 3 < t) sums[1] = fmaf(-of_keys.w, of[j + 3], sums[1]);
        }
        of[t] = sums[0] + sums[1];
        x[at + t][at + column] = of[t];
      }
    }
  } else {
    for (int i = tid - 128; i < CHUNK * CHUNK; i += PREPARERS - 128) {
      if (i % CHUNK / 16 > i / CHUNK / 16) x[i / CHUNK][i % CHUNK] = 0.0f;
    }
  }
  sync();
  float d[4];
  const int pair = warp / 2 % 2 * 32, tile = warp % 2 * 8;  // of blocks of 16
  if (warp < 4) {
    product<16>(d, &work.by_key[pair + 16][pair], &x[pair][pair + tile]);
    store(&y[0][pair + tile], d, 1.0f);
  }
  sync();
  if (warp < 4) {
    product<16>(d, &x[pair + 16][pair + 16], &y[0][pair + tile]);
    store(&x[pair + 16][pair + tile], d, -1.0f);
  }
  sync();
  {
    const int row = tid / 4, column = row / HALF * HALF + tid % 4 * 8;
    unsigned pairs[4], lower[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float4 four = *reinterpret_cast<const float4*>(&x[row][column + j / 2 * 4]), by = *reinterpret_cast<const float4*>(rates + column + j / 2 * 4);
      const float first = j % 2 == 0 ? four.x * by.x : four.z * by.z, second = j % 2 == 0 ? four.y * by.y : four.w * by.w;
      pairs[j] = ptx::pack_bf16(first, second);
      lower[j] = ptx::pack_bf16(first - ptx::low_bf16(pairs[j]), second - ptx::high_bf16(pairs[j]));
    }
    *reinterpret_cast<uint4*>(to.inverse + place(row, column)) = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
    *reinterpret_cast<uint4*>(to.rest + place(row, column)) = make_uint4(lower[0], lower[1], lower[2], lower[3]);
    if (!IS_SHARED && row < HALF) {  // nobody multiplies with it, but it is copied
      *reinterpret_cast<uint4*>(to.inverse + place(row, column + HALF)) = make_uint4(0, 0, 0, 0);
      *reinterpret_cast<uint4*>(to.rest + place(row, column + HALF)) = make_uint4(0, 0, 0, 0);
    }
  }
}

/// Of both halves of a chunk: operands of the updates, and what their rounding has left.
struct Updates {
  unsigned pairs[4][4], rest[4][4];
};

/// d += x times B^T, B in two bf16, of 32 of its rows and columns.
__device__ __forceinline__ void add_half(float (&d)[16], const unsigned (*x)[4], const unsigned (*lower)[4], unsigned pairs, unsigned rest, bool accumulate) {
#pragma unroll
  for (int step = 0; step < 2; ++step) {
    ptx::wgmma_bf16_rs(d, x[step], ptx::wgmma_descriptor(pairs + step * 32), accumulate || step > 0);
    ptx::wgmma_bf16_rs(d, x[step], ptx::wgmma_descriptor(rest + step * 32), true);
    ptx::wgmma_bf16_rs(d, lower[step], ptx::wgmma_descriptor(pairs + step * 32), true);
  }
}

/// Half of a chunk's updates, as operands of what follows.
__device__ __forceinline__ void pack_half(unsigned (*x)[4], unsigned (*lower)[4], const float (&d)[16], float sign) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float first = sign * d[i * 8 + j * 2], second = sign * d[i * 8 + j * 2 + 1];
      x[i][j] = ptx::pack_bf16(first, second);
      lower[i][j] = ptx::pack_bf16(first - ptx::low_bf16(x[i][j]), second - ptx::high_bf16(x[i][j]));
    }
  }
}

/// What half of a chunk's updates add to outputs and state.
template <int D>
__device__ __forceinline__ void add_outputs(float (&out)[32], const unsigned (*x)[4], unsigned by_query) {
#pragma unroll
  for (int step = 0; step < 2; ++step) ptx::wgmma_bf16_rs(out, x[step], ptx::wgmma_descriptor(by_query + step * 32), true);
}
template <int D>
__device__ __forceinline__ void add_state(float (&s)[D / 2], const unsigned (*x)[4], const unsigned (*lower)[4], unsigned k_left) {
#pragma unroll
  for (int step = 0; step < 2; ++step) {
    ptx::wgmma_bf16_rs<true>(s, x[step], ptx::wgmma_descriptor(k_left + step * 2048, PANEL), true);
    ptx::wgmma_bf16_rs<true>(s, lower[step], ptx::wgmma_descriptor(k_left + step * 2048, PANEL), true);
  }
}

/// The updates of a chunk, from values and what the state knows of them, and what they add to outputs and state: the first half of the
/// tokens by their inverse, the other by its own, once what the first half changes in it is known. `settled` is called when what was
/// under way before is complete. Two groups are under way at the end, of which the later one is the state's.
template <int D, typename Settled>
__device__ __forceinline__ void update(float (&s)[D / 2], float (&out)[32], float (&known)[32], const unsigned (&values)[4][4], Updates& by,
                                       unsigned inverse, unsigned rest, unsigned by_query, unsigned k_left, const Settled& settled) {
  unsigned x[2][4], lower[2][4];
  float first[16], second[16], u[16];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      float* const to = (i < 2 ? first : second) + i % 2 * 8 + j * 2;
      to[0] = known[i * 8 + j * 2] - ptx::low_bf16(values[i][j]), to[1] = known[i * 8 + j * 2 + 1] - ptx::high_bf16(values[i][j]);
    }
  }
  pack_half(x, lower, first, -1.0f);
#pragma unroll
  for (int i = 0; i < 16; ++i) u[i] = 0.0f;
  settle(u);
  ptx::wgmma_fence();
  add_half(u, x, lower, inverse, rest, false);
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
  settled();
  keep_until_here(x);
  keep_until_here(lower);
  settle(u);
  pack_half(by.pairs, by.rest, u, 1.0f);
  settle(second);
  ptx::wgmma_fence();
  add_half(second, by.pairs, by.rest, inverse + HALF * 128, rest + HALF * 128, true);
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
  settle(second);
  pack_half(x, lower, second, -1.0f);
#pragma unroll
  for (int i = 0; i < 16; ++i) u[i] = 0.0f;
  settle(u);
  settle(s);
  settle(out);
  ptx::wgmma_fence();
  add_half(u, x, lower, inverse + HALF * 128 + 64, rest + HALF * 128 + 64, false);
  ptx::wgmma_commit();
  add_outputs<D>(out, by.pairs, by_query);
  add_state<D>(s, by.pairs, by.rest, k_left);
  ptx::wgmma_commit();
  ptx::wgmma_wait<1>();
  keep_until_here(x);
  keep_until_here(lower);
  settle(u);
  pack_half(by.pairs + 2, by.rest + 2, u, 1.0f);
  ptx::wgmma_fence();
  add_outputs<D>(out, by.pairs + 2, by_query + 64);
  ptx::wgmma_commit();
  add_state<D>(s, by.pairs + 2, by.rest + 2, k_left + 2 * 2048);
  ptx::wgmma_commit();
}

template <int D>
__global__ void __launch_bounds__(PREPARERS, 2)
kda_prepare(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k, const float* __restrict__ g,
            const float* __restrict__ beta, Prepared<D>* __restrict__ out, int T, int H, float scale) {
  extern __shared__ __align__(128) unsigned char memory[];
  Work<D, 8>& work = *reinterpret_cast<Work<D, 8>*>(memory + ((1024u - (ptx::smem_address(memory) & 1023u)) & 1023u));
  const int chunk = blockIdx.x, head = blockIdx.y, first = chunk * CHUNK;
  ptx::griddepcontrol_launch_dependents();
  fetch(work, work.rate[0], q, k, g, beta, ((long long)(head / H) * T + first) * H + head % H, min(CHUNK, T - first), H);
  ptx::cp_async_wait<0>();
  __syncthreads();  // queries, keys, gates and rates are visible
  sum_gates<D, PREPARERS>(work, threadIdx.x, [] { __syncthreads(); });
  __syncthreads();  // sums are visible
  Prepared<D>& to = out[(long long)head * gridDim.x + chunk];
  unsigned char* const tiles = reinterpret_cast<unsigned char*>(&work);  // of queries and keys, where they came; grown keys behind them
  prepare<D, 2, false, PREPARERS / 32>(work, to, *reinterpret_cast<float (*)[CHUNK][EDGE]>(&work.sum),
                       *reinterpret_cast<float (*)[32][EDGE]>(&work.q), to.k_left[0], tiles, tiles + 2 * D * CHUNK * 2, work.rate[0], scale, [] { __syncthreads(); }, [](bool) {}, [] {}, [] {});
}

template <int D, int GROUPS>
struct Shared {
  Prepared<D> chunks[2];
  unsigned char v[2][GROUPS][PANEL], o[GROUPS][PANEL];
  uint64_t full[2], empty[2];
};

template <int D, int GROUPS>
__global__ void __launch_bounds__(GROUPS * 128 + 128, 1)
kda_chain(const __grid_constant__ CUtensorMap v_map, const __grid_constant__ CUtensorMap o_map, const Prepared<D>* __restrict__ chunks,
          const float* __restrict__ s0, float* __restrict__ state, int T, int H) {
  extern __shared__ __align__(128) unsigned char memory[];
  Shared<D, GROUPS>& shared = *reinterpret_cast<Shared<D, GROUPS>*>(memory + ((1024u - (ptx::smem_address(memory) & 1023u)) & 1023u));
  const int thread = threadIdx.x % 128, group = threadIdx.x / 128, lane = thread % 32, warp = thread / 32, g = lane / 4, t = lane % 4;
  const int head = blockIdx.y, b = head / H, h = head % H, columns = blockIdx.x * GROUPS * 64, count = (T + CHUNK - 1) / CHUNK;
  chunks += (long long)head * count;

  if (threadIdx.x == 0) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      ptx::mbarrier_init(&shared.full[i], 1);
      ptx::mbarrier_init(&shared.empty[i], 4 * GROUPS);
    }
    ptx::fence_mbarrier_init();
  }
  __syncthreads();

  if (group == GROUPS) {
    ptx::register_decrease<24>();
    if (thread == 0) {
      ptx::griddepcontrol_wait();  // chunks are complete and visible
      for (int c = 0; c < count; ++c) {
        const int stage = c & 1;
        ptx::mbarrier_wait(&shared.empty[stage], ((c >> 1) & 1) ^ 1);
        ptx::mbarrier_arrive_expect(&shared.full[stage], Prepared<D>::BYTES + GROUPS * PANEL);
        ptx::bulk_load(&shared.chunks[stage], chunks + c, Prepared<D>::BYTES, &shared.full[stage]);
#pragma unroll
        for (int i = 0; i < GROUPS; ++i) {
          ptx::tma_load_4d(shared.v[stage][i], &v_map, &shared.full[stage], columns + i * 64, c * CHUNK, h, b);
        }
      }
    }
  } else {
    ptx::register_increase<240>();
    // s[i]: value channels g and g + 8 of this warp's 16, key channels 8 n + 2 t and the next one.
    float s[D / 2];
    const long long state_at = (long long)head * D * D + columns + group * 64 + warp * 16 + g;
#pragma unroll
    for (int i = 0; i < D / 2; ++i) s[i] = s0[state_at + (i / 4 * 8 + t * 2 + i % 2) * D + i % 4 / 2 * 8];
    for (int c = 0; c < count; ++c) {
      const int stage = c & 1;
      const Prepared<D>& chunk = shared.chunks[stage];
      const unsigned char* const v_tile = shared.v[stage][group];
      float known[32], out[32];
#pragma unroll
      for (int i = 0; i < 32; ++i) known[i] = out[i] = 0.0f;
      unsigned a[D / 16][4];
      pack(a, s);
      ptx::mbarrier_wait(&shared.full[stage], (c >> 1) & 1);
      settle(known);
      settle(out);
      ptx::wgmma_fence();
#pragma unroll
      for (int step = 0; step < D / 16; ++step) {
        ptx::wgmma_bf16_rs(known, a[step], ptx::wgmma_descriptor(ptx::smem_address(chunk.k[step / 4] + step % 4 * 32)), step > 0);
      }
      ptx::wgmma_commit();
#pragma unroll
      for (int step = 0; step < D / 16; ++step) {
        ptx::wgmma_bf16_rs(out, a[step], ptx::wgmma_descriptor(ptx::smem_address(chunk.q[step / 4] + step % 4 * 32)), step > 0);
      }
      ptx::wgmma_commit();
      unsigned values[4][4];
#pragma unroll
      for (int step = 0; step < 4; ++step) {
        const int key = step * 16 + (lane & 7) + (lane >> 4) * 8;
        ptx::ldmatrix_x4_trans(values[step], v_tile + key * 128 + (((warp * 2 + ((lane >> 3) & 1)) ^ (key & 7)) * 16));
      }
#pragma unroll
      for (int n = 0; n < D / 8; ++n) {
        const float2 whole = *reinterpret_cast<const float2*>(&chunk.whole[n * 8 + t * 2]);
        s[n * 4] *= whole.x, s[n * 4 + 1] *= whole.y, s[n * 4 + 2] *= whole.x, s[n * 4 + 3] *= whole.y;
      }
      ptx::wgmma_wait<1>();
      settle(known);
      Updates updates;
      update<D>(s, out, known, values, updates, ptx::smem_address(chunk.inverse), ptx::smem_address(chunk.rest), ptx::smem_address(chunk.by_query),
                ptx::smem_address(chunk.k_left[0]), [&] {
                  keep_until_here(a);
                  settle(out);
                });
      ptx::wgmma_wait<1>();
      settle(out);
      if (thread == 0) ptx::tma_store_wait_read<0>();
      __syncwarp();
      ptx::named_barrier_sync(1 + group, 128);  // the last store has read its tile
#pragma unroll
      for (int n = 0; n < 8; n += 2) {
        const int token = (n + (lane >> 4)) * 8 + (lane & 7), at = (warp * 2 + ((lane >> 3) & 1)) ^ (token & 7);
        stmatrix_x4_trans(shared.o[group] + token * 128 + at * 16, ptx::pack_bf16(out[n * 4], out[n * 4 + 1]),
                          ptx::pack_bf16(out[n * 4 + 2], out[n * 4 + 3]), ptx::pack_bf16(out[n * 4 + 4], out[n * 4 + 5]),
                          ptx::pack_bf16(out[n * 4 + 6], out[n * 4 + 7]));
      }
      ptx::fence_proxy_async();
      ptx::named_barrier_sync(1 + group, 128);
      if (thread == 0) {
        ptx::tma_store_4d(&o_map, shared.o[group], columns + group * 64, c * CHUNK, h, b);
        ptx::tma_store_commit();
      }
      __syncwarp();
      ptx::wgmma_wait<0>();
      keep_until_here(updates.pairs);
      keep_until_here(updates.rest);
      settle(s);
      __syncwarp();
      if (lane == 0) ptx::mbarrier_arrive(&shared.empty[stage]);
    }
#pragma unroll
    for (int i = 0; i < D / 2; ++i) state[state_at + (i / 4 * 8 + t * 2 + i % 2) * D + i % 4 / 2 * 8] = s[i];
    if (thread == 0) ptx::tma_store_wait<0>();
  }
}

template <int D>
struct Fused {
  static constexpr int GROUPS = D / 64, THREADS = PREPARERS + GROUPS * 128;
  Prepared<D> chunk;
  unsigned char v[GROUPS][PANEL];  // and outputs
  unsigned char k_left[D / 64][PANEL];  // of odd chunks
  float x[CHUNK][EDGE], y[32][EDGE];  // squares of the inverse; before, keys that grow
  Work<D, 0> work;  // rows without padding, as TMA writes them
  uint64_t loaded, summed, tiles, tiles_empty, full, empty, v_full[GROUPS];
};

/// Both at once, for a head a block: two warpgroups prepare a chunk while the others walk through the one before.
template <int D>
__global__ void __launch_bounds__(Fused<D>::THREADS, 1)
kda_fused(const __grid_constant__ CUtensorMap q_map, const __grid_constant__ CUtensorMap k_map, const __grid_constant__ CUtensorMap g_map,
          const __grid_constant__ CUtensorMap v_map, const __grid_constant__ CUtensorMap o_map, const float* __restrict__ beta, const float* __restrict__ s0,
          float* __restrict__ state, int T, int H, float scale) {
  constexpr int GROUPS = Fused<D>::GROUPS;
  extern __shared__ __align__(128) unsigned char memory[];
  Fused<D>& shared = *reinterpret_cast<Fused<D>*>(memory + ((1024u - (ptx::smem_address(memory) & 1023u)) & 1023u));
  const int head = blockIdx.x, b = head / H, h = head % H, count = (T + CHUNK - 1) / CHUNK;
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(&shared.loaded, 1);
    ptx::mbarrier_init(&shared.summed, 4 * GROUPS);
    ptx::mbarrier_init(&shared.tiles, PREPARERS / 32);
    ptx::mbarrier_init(&shared.tiles_empty, 4 * GROUPS);
    ptx::mbarrier_init(&shared.full, PREPARERS / 32);
    ptx::mbarrier_init(&shared.empty, 4 * GROUPS);
#pragma unroll
    for (int i = 0; i < GROUPS; ++i) ptx::mbarrier_init(&shared.v_full[i], 1);
    ptx::fence_mbarrier_init();
  }
  __syncthreads();

  if (threadIdx.x < PREPARERS) {
    ptx::register_decrease<PREPARING>();
    const long long token = (long long)b * T * H + h;
    fetch_rates(shared.work.rate[0], beta, token, min(CHUNK, T), H);
    for (int c = 0; c < count; ++c) {
      ptx::cp_async_wait<0>();
      ptx::mbarrier_wait(&shared.loaded, c & 1);
      ptx::mbarrier_wait(&shared.summed, c & 1);
      ptx::named_barrier_sync(1, PREPARERS);  // queries, keys, sums and rates are visible
      prepare<D, 1, true, GROUPS * 4>(shared.work, shared.chunk, shared.x, shared.y, c % 2 == 0 ? shared.chunk.k_left[0] : shared.k_left[0], shared.chunk.q[0], reinterpret_cast<unsigned char*>(shared.x), shared.work.rate[c & 1], scale,
                          [] { ptx::named_barrier_sync(1, PREPARERS); }, [&](bool is_all) { ptx::mbarrier_wait(is_all ? &shared.empty : &shared.tiles_empty, (c & 1) ^ 1); },
                          [&] {
                            ptx::fence_proxy_async();
                            __syncwarp();
                            if (threadIdx.x % 32 == 0) ptx::mbarrier_arrive(&shared.tiles);
                            __syncwarp();
                          },
                          [&] {
                            const int next = (c + 1) * CHUNK;
                            if (next < T) fetch_rates(shared.work.rate[(c + 1) & 1], beta, token + (long long)next * H, min(CHUNK, T - next), H);
                          });
      ptx::fence_proxy_async();
      __syncwarp();
      if (threadIdx.x % 32 == 0) ptx::mbarrier_arrive(&shared.full);
      __syncwarp();
    }
  } else {
    ptx::register_increase<WALKING>();
    const int thread = threadIdx.x % 128, group = threadIdx.x / 128 - PREPARERS / 128, lane = thread % 32, warp = thread / 32, g = lane / 4, t = lane % 4;
    const int columns = group * 64;
    const Prepared<D>& chunk = shared.chunk;
    const unsigned char* const v_tile = shared.v[group];
    const auto load_values = [&](int c) {
      if (thread == 0 && c < count) {
        ptx::mbarrier_arrive_expect(&shared.v_full[group], PANEL);
        ptx::tma_load_4d(shared.v[group], &v_map, &shared.v_full[group], columns, c * CHUNK, h, b);
      }
      __syncwarp();
    };
    const auto load_tokens = [&](int c) {
      if (threadIdx.x == PREPARERS && c < count) {
        ptx::mbarrier_arrive_expect(&shared.loaded, CHUNK * D * 8);
        ptx::tma_load_4d(shared.work.sum, &g_map, &shared.loaded, 0, c * CHUNK, h, b);
        ptx::tma_load_4d(shared.work.q, &q_map, &shared.loaded, 0, c * CHUNK, h, b);
        ptx::tma_load_4d(shared.work.k, &k_map, &shared.loaded, 0, c * CHUNK, h, b);
      }
      __syncwarp();
    };
    load_tokens(0);
    const auto sum_tokens = [&](int c) {
      if (c >= count) return;
      ptx::mbarrier_wait(&shared.loaded, c & 1);
      sum_gates<D, GROUPS * 128>(shared.work, threadIdx.x - PREPARERS, [] { ptx::named_barrier_sync(2 + GROUPS, GROUPS * 128); });
      __syncwarp();
      if (lane == 0) ptx::mbarrier_arrive(&shared.summed);
      __syncwarp();
    };
    sum_tokens(0);
    float s[D / 2];
    const long long state_at = (long long)head * D * D + columns + warp * 16 + g;
#pragma unroll
    for (int i = 0; i < D / 2; ++i) s[i] = s0[state_at + (i / 4 * 8 + t * 2 + i % 2) * D + i % 4 / 2 * 8];
    constexpr int K_AT = D / 64 * PANEL, BY_QUERY_AT = 3 * K_AT, INVERSE_AT = BY_QUERY_AT + PANEL, REST_AT = INVERSE_AT + PANEL;
    unsigned tiles = ptx::smem_address(&shared.chunk);
    for (int c = 0; c < count; ++c) {
      asm volatile("" : "+r"(tiles));  // else every descriptor is kept in registers from before the loop
      const unsigned k_left = c % 2 == 0 ? tiles + 2 * K_AT : tiles + (unsigned)(shared.k_left[0] - reinterpret_cast<const unsigned char*>(&shared.chunk));
      float known[32], out[32];
      unsigned a[2][2][4];
#pragma unroll
      for (int i = 0; i < 32; ++i) known[i] = out[i] = 0.0f;
      ptx::mbarrier_wait(&shared.tiles, c & 1);
      if (thread == 0) ptx::tma_store_wait_read<0>();  // outputs of the chunk before, which lie where the values will
      __syncwarp();
      load_values(c);
      ptx::fence_proxy_async();
      load_tokens(c + 1);  // the preparing warps read none of this chunk's any more
      const auto pack_channels = [&](int i) {  // 32 of the state's, which decay then
#pragma unroll
        for (int step = 0; step < 2; ++step) {
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            const int at = i * 16 + step * 8 + j * 2;
            a[i % 2][step][j] = ptx::pack_bf16(s[at], s[at + 1]);
            const float2 whole = *reinterpret_cast<const float2*>(&chunk.whole[i * 32 + step * 16 + j / 2 * 8 + t * 2]);
            s[at] *= whole.x, s[at + 1] *= whole.y;
          }
        }
      };
      settle(known);
      settle(out);
      pack_channels(0);
      pack_channels(1);
#pragma unroll
      for (int i = 0; i < D / 32; ++i) {
        if (i >= 2) {
          ptx::wgmma_wait<1>();
          keep_until_here(a[i % 2]);
          pack_channels(i);
        }
        ptx::wgmma_fence();
#pragma unroll
        for (int step = 0; step < 2; ++step) {
          const unsigned at = tiles + i / 2 * PANEL + (i % 2 * 2 + step) * 32;
          ptx::wgmma_bf16_rs(known, a[i % 2][step], ptx::wgmma_descriptor(at + K_AT), i + step > 0);
          ptx::wgmma_bf16_rs(out, a[i % 2][step], ptx::wgmma_descriptor(at), i + step > 0);
        }
        ptx::wgmma_commit();
      }
      ptx::wgmma_wait<0>();
      keep_until_here(a[0]);
      keep_until_here(a[1]);
      settle(known);
      settle(out);
      __syncwarp();
      if (lane == 0) ptx::mbarrier_arrive(&shared.tiles_empty);
      __syncwarp();
      ptx::mbarrier_wait(&shared.v_full[group], c & 1);
      unsigned values[4][4];
#pragma unroll
      for (int step = 0; step < 4; ++step) {
        const int key = step * 16 + (lane & 7) + (lane >> 4) * 8;
        ptx::ldmatrix_x4_trans(values[step], v_tile + key * 128 + (((warp * 2 + ((lane >> 3) & 1)) ^ (key & 7)) * 16));
      }
      sum_tokens(c + 1);
      ptx::mbarrier_wait(&shared.full, c & 1);
      Updates updates;
      update<D>(s, out, known, values, updates, tiles + INVERSE_AT, tiles + REST_AT, tiles + BY_QUERY_AT, k_left, [] {});
      ptx::wgmma_wait<1>();
      settle(out);
      ptx::named_barrier_sync(2 + group, 128);  // everyone has read the values
#pragma unroll
      for (int n = 0; n < 8; n += 2) {
        const int token = (n + (lane >> 4)) * 8 + (lane & 7), at = (warp * 2 + ((lane >> 3) & 1)) ^ (token & 7);
        stmatrix_x4_trans(shared.v[group] + token * 128 + at * 16, ptx::pack_bf16(out[n * 4], out[n * 4 + 1]),
                          ptx::pack_bf16(out[n * 4 + 2], out[n * 4 + 3]), ptx::pack_bf16(out[n * 4 + 4], out[n * 4 + 5]),
                          ptx::pack_bf16(out[n * 4 + 6], out[n * 4 + 7]));
      }
      ptx::wgmma_wait<0>();
      keep_until_here(updates.pairs);
      keep_until_here(updates.rest);
      settle(s);
      __syncwarp();
      if (lane == 0) ptx::mbarrier_arrive(&shared.empty);
      __syncwarp();
      ptx::fence_proxy_async();
      ptx::named_barrier_sync(2 + group, 128);
      if (thread == 0) {
        ptx::tma_store_4d(&o_map, shared.v[group], columns, c * CHUNK, h, b);
        ptx::tma_store_commit();
      }
      __syncwarp();
    }
#pragma unroll
    for (int i = 0; i < D / 2; ++i) state[state_at + (i / 4 * 8 + t * 2 + i % 2) * D + i % 4 / 2 * 8] = s[i];
    if (thread == 0) ptx::tma_store_wait<0>();
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == 64 || p.D == 128, "D must be 64 or 128")) return;
  const bool is_wide = p.D == 128;
  const int chunks = kl::cdiv((int)p.T, CHUNK), heads = (int)(p.B * p.H);
  const int groups = is_wide && GROUPS_MAX == 2 && heads * 2 > p.device.sms ? 2 : 1;  // few heads: a block for each half of their columns
  if (FUSED == 1 && (heads * 2 > p.device.sms || chunks <= 4)) {
    auto q_map = plan.tensor_map(p.q, {3, 1, 2, 0}, {p.D, 64, 1, 1});
    auto k_map = plan.tensor_map(p.k, {3, 1, 2, 0}, {p.D, 64, 1, 1});
    auto g_map = plan.tensor_map(p.g, {3, 1, 2, 0}, {p.D, 64, 1, 1});
    auto v_map = plan.tensor_map(p.v, {3, 1, 2, 0}, {64, 64, 1, 1}, kl::swizzle_128);
    auto o_map = plan.tensor_map(p.o, {3, 1, 2, 0}, {64, 64, 1, 1}, kl::swizzle_128);
    plan.launch(is_wide ? "kda_fused<128>" : "kda_fused<64>").grid(heads).block(PREPARERS + p.D * 2).shared(1024 + (is_wide ? sizeof(Fused<128>) : sizeof(Fused<64>)))
        .arg(q_map).arg(k_map).arg(g_map).arg(v_map).arg(o_map).arg(p.beta).arg(p.s0).arg(p.state).arg(p.T).arg(p.H).arg(p.scale);
    return;
  }
  const auto prepared = plan.workspace(kl::u8, (long long)heads * chunks * (is_wide ? sizeof(Prepared<128>) : sizeof(Prepared<64>)));
  auto v_map = plan.tensor_map(p.v, {3, 1, 2, 0}, {64, 64, 1, 1}, kl::swizzle_128);
  auto o_map = plan.tensor_map(p.o, {3, 1, 2, 0}, {64, 64, 1, 1}, kl::swizzle_128);
  plan.launch(is_wide ? "kda_prepare<128>" : "kda_prepare<64>").grid(chunks, heads).block(PREPARERS)
      .shared(1024 + (is_wide ? sizeof(Work<128, 8>) : sizeof(Work<64, 8>)))
      .arg(p.q).arg(p.k).arg(p.g).arg(p.beta).arg(prepared).arg(p.T).arg(p.H).arg(p.scale);
  const long long bytes = 1024 + (long long)(!is_wide ? sizeof(Shared<64, 1>) : groups == 2 ? sizeof(Shared<128, 2>) : sizeof(Shared<128, 1>));
  plan.launch(!is_wide ? "kda_chain<64, 1>" : groups == 2 ? "kda_chain<128, 2>" : "kda_chain<128, 1>").grid(p.D / (64 * groups), heads)
      .block(groups * 128 + 128).programmatic().shared(bytes)
      .arg(v_map).arg(o_map).arg(prepared).arg(p.s0).arg(p.state).arg(p.T).arg(p.H);
}
