// SPDX-License-Identifier: Apache-2.0
// Decode over a bitmap-packed cache on tensor cores: q [B, Hq, 128] (bf16) over 64 * groups[b] packed tokens (bits, offsets,
// values; see the task) and window[b] dense ones k_win, v_win [B, W, Hkv, 128], with lse.
//
// Technique: the dense tile is never written. A warp takes whole tiles of 64 tokens, for all query heads of the group at
// once, in units of 32 words (32 channels of the keys, 16 tokens of the values). Two bulk copies bring a unit's bits and
// values some units ahead into a slot of the warp's own, so that no barrier of the block is in the loop; offsets are read
// for the borders of units only: a scan over the words' counts gives the others, and where each byte's values begin.
// Lane (g, t) gathers byte g of every fourth word: eight tokens of a channel, or eight channels of a token, each element by
// a load that only its bit lets happen and that moves on in the word's values; the test of a bit leaves the 0 where it is
// not set. Those are the rows g and g + 8 of m16n8k16 operands, whose order of rows and columns is free as long as
// queries and probabilities keep to it; of the columns only even ones are used, so that an element is an operand as it comes. The
// window's tokens come straight from memory. Warps are merged in shared memory, chunks by a second kernel. Runs from sm_90 on.
//
// Ladder (geometric means over four shapes on an H100, n = 20):
//   naive.cu       bits, offsets and values read once per query head, an element at a time
//   mma_unpack.cu  values read once, unpacked into a dense tile in shared memory by a block: bound by shared memory
//   this file      operands gathered directly, cp.async: 1.33x the second; bulk copies and starts by a scan: 1.42x; tests
//                  that leave the zero, neighbouring words for the lanes of a load: 1.46x (1.39 and 1.64x at sparsity 0.7)
//                  Leaner fetches, and elements that need not be packed: 1.06x more on an H200 (1.09x at sparsity 0.7; n = 8);
//                  tiles dealt evenly; a merge whose loads do not wait for each other: 1.04x at one long sequence (an H100,
//                  n = 8); two slots instead of three: 1.03x at short sequences, no more than 1.01x either way elsewhere
//   left to do     at sparsity 0.7 a load an element is too many: schedulers issue in 62 % of the cycles, and warps wait for
//                  shared memory. More warps are slower: five blocks with smaller slots 1.1 to 1.2 times, six 1.3 to 1.5 times

// tune: STAGES = 2 | 3 | 4
// tune: BLOCKS_PER_SM = 4 | 3 | 2
// tune: WAVES = 1 | 2 | 3
// where: STAGES * BLOCKS_PER_SM <= 12

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int D = Problem::D;
constexpr int WARPS = 4, THREADS = WARPS * 32;
constexpr int KEYS = 64;                        // of a tile
constexpr int HEADS = 8;                        // columns of an operand
constexpr int UNIT = 32;                        // words of a unit
constexpr int UNITS = D / UNIT;                 // of a tile's keys, and of its values
constexpr int TILE_VECTORS = KEYS * D / 8;      // of a tile without any pruning
constexpr int SPLITS_MAX = 128;
constexpr float LOWEST = -1e30f;                // finite, so that the difference of two maxima is never NaN
constexpr float LN2 = 0.69314718f;
static_assert(SPLITS_MAX % 32 == 0 && D == 2 * KEYS, "lanes take chunks; as many words of keys as of values");

struct Slot {
  unsigned short values[UNIT * 64];
  unsigned long long bits[UNIT];
};

struct Shared {
  Slot slots[WARPS][STAGES];                    // and the warps' outputs, once the tiles are done
  uint4 starts[WARPS][UNIT];                    // where each byte's values begin, in bytes, by word of the unit at hand
  uint2 q[2 * UNITS][32];                       // operands, by step of 16 channels and lane
  uint64_t full[WARPS][STAGES];                 // mbarriers
};
static_assert(sizeof(Slot) * STAGES >= sizeof(float) * HEADS * D, "a warp's output takes the place of its slots");

/// Bit I of a word: its element, with nothing above it, 0 where the bit is not set; moves on in the word's values.
template <int I>
__device__ __forceinline__ unsigned gather(unsigned bits, unsigned& at) {
  unsigned value;  // 0 from the test of a bit that is not set
  asm volatile(
      "{\n\t.reg .pred p;\n\tand.b32 %0, %2, %3;\n\tsetp.ne.u32 p, %0, 0;\n\t"
      "@p ld.shared.u16 %0, [%1];\n\t@p add.u32 %1, %1, 2;\n\t}"
      : "=&r"(value), "+r"(at)
      : "r"(bits), "n"(1 << I)
      : "memory");
  return value;
}

/// Adds what the lane `step` below has, if there is one.
__device__ __forceinline__ void add_before(int& end, int step) {
  asm volatile(
      "{\n\t.reg .pred p;\n\t.reg .s32 r;\n\tshfl.sync.up.b32 r|p, %0, %1, 0, 0xffffffff;\n\t@p add.s32 %0, %0, r;\n\t}"
      : "+r"(end)
      : "r"(step));
}

/// Says where every byte's values begin, a lane for a word: behind those of the words before, which are padded to eight.
__device__ __forceinline__ void find_starts(const Slot& slot, uint4* starts) {
  const int lane = threadIdx.x % 32;
  const uint2 bits = reinterpret_cast<const uint2*>(slot.bits)[lane];
  const int low = __popc(bits.x), size = (low + __popc(bits.y) + 7) / 8;
  int end = size;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) add_before(end, step);
  const unsigned place = 16 * (end - size), base = place | place << 16;
  uint4 result;
  result.x = base + (__popc(bits.x & 0xff) << 17);
  result.y = base + (__popc(bits.x & 0xffff) << 1) + (__popc(bits.x & 0xffffff) << 17);
  result.z = base + (low << 1) + (low + __popc(bits.y & 0xff) << 17);
  result.w = base + (low + __popc(bits.y & 0xffff) << 1) + (low + __popc(bits.y & 0xffffff) << 17);
  starts[lane] = result;
}

/// What a lane reads of a slot: byte g of every fourth word.
struct Reader {
  unsigned base;                 // shared address of the values
  const unsigned char* bits;     // of the first word
  const unsigned short* starts;

  __device__ __forceinline__ Reader(const Slot& slot, const uint4* of, int first, int g)
      : base(ptx::smem_address(slot.values)), bits(reinterpret_cast<const unsigned char*>(slot.bits + first) + g),
        starts(reinterpret_cast<const unsigned short*>(of + first) + g) {}

  /// Operands of mma.m16n8k16 from the words FIRST, FIRST + STEP... behind the first, of which the first and third go into one
  /// operand and the others into another: bit 2m in rows g, 2m + 1 in rows g + 8 of operand m. Only even columns are used: an
  /// element is an operand as it comes, and half a product is cheaper than to pack two.
  template <int FIRST, int STEP>
  __device__ __forceinline__ void operands(unsigned (&a)[2][4][4]) const {
    unsigned byte[4], at[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      byte[j] = bits[8 * (FIRST + STEP * j)];
      at[j] = base + starts[8 * (FIRST + STEP * j)];
    }
    rows<0>(a, byte, at);
  }
  template <int M>
  __device__ __forceinline__ void rows(unsigned (&a)[2][4][4], const unsigned (&byte)[4], unsigned (&at)[4]) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
#pragma unroll
      for (int j = 0; j < 4; ++j)
        a[j % 2][M][r + j / 2 * 2] = r == 0 ? gather<2 * M>(byte[j], at[j]) : gather<2 * M + 1>(byte[j], at[j]);
    }
    if constexpr (M < 3) rows<M + 1>(a, byte, at);
  }
};

/// Products of four operands of either kind: even columns only, of which the second kind's have their factors in the upper halves.
__device__ __forceinline__ void multiply(float (&c)[4][4], const unsigned (&a)[2][4][4], uint2 factors) {
#pragma unroll
  for (int m = 0; m < 4; ++m) ptx::mma_bf16(c[m], a[0][m], factors.x, factors.y);
#pragma unroll
  for (int m = 0; m < 4; ++m) ptx::mma_bf16(c[m], a[1][m], factors.x >> 16, factors.y >> 16);
}

/// Online softmax of eight query heads over the tiles of one warp, in base-2 units. With g = lane / 4, t = lane % 4 a lane
/// holds heads 2t and 2t + 1, the scores of tokens 8g to 8g + 7 and the channels 64w + 8g to 64w + 8g + 7 of w = 0, 1.
struct State {
  float max[2], sum[2], o[2][4][4];
};

/// Where the words and values of one head's keys or values lie.
struct Packed {
  const unsigned long long* bits;
  const int* offsets;
  const uint4* vectors;
};

/// Begins with a unit of a tile; the borders of its values are in lanes `lane` and the next of `bounds`.
__device__ __forceinline__ void fetch(Slot& to, uint64_t* arrived, const unsigned long long* bits, const uint4* vectors, int bounds,
                                      int lane) {
  const int from = __shfl_sync(~0u, bounds, lane), count = __shfl_sync(~0u, bounds, lane + 1) - from;
  if (ptx::elect_one()) {
    ptx::mbarrier_arrive_expect(arrived, 16 * count + sizeof(to.bits));
    ptx::bulk_load(to.bits, bits, sizeof(to.bits), arrived);
    if (count > 0) ptx::bulk_load(to.values, vectors + from, 16 * count, arrived);
  }
}

/// Scores of a tile become probabilities in bf16, as operands by step of 16 tokens; tokens from `count` on do not count.
/// They change lanes through `room`, which nobody else of the warp uses before or behind.
__device__ __forceinline__ void soften(State& state, float (&s)[4][4], uint2 (&p)[UNITS], uint4* room, int count,
                                       float scale_log2) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  float shrink[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    float next = LOWEST;
#pragma unroll
    for (int m = 0; m < 4; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float& score = s[m][2 * r + i];
        score = 8 * g + 2 * m + r < count ? score * scale_log2 : -INFINITY;
        next = fmaxf(next, score);
      }
    }
#pragma unroll
    for (int step = 4; step < 32; step *= 2) next = fmaxf(next, __shfl_xor_sync(~0u, next, step));
    next = fmaxf(next, state.max[i]);
    shrink[i] = ptx::ex2(state.max[i] - next);
    state.max[i] = next;
    state.sum[i] *= shrink[i];
#pragma unroll
    for (int m = 0; m < 4; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float& score = s[m][2 * r + i];
        score = ptx::ex2(score - next);
        state.sum[i] += score;
      }
    }
  }
#pragma unroll
  for (int w = 0; w < 2; ++w)
#pragma unroll
    for (int m = 0; m < 4; ++m)
#pragma unroll
      for (int i = 0; i < 4; ++i) state.o[w][m][i] *= shrink[i % 2];
  constexpr int ROW = KEYS / 8 + 1;  // vectors of a head's probabilities, and one more against conflicts of banks
  __syncwarp();  // nobody reads the room any more
  // A head's tokens of a unit in the order of the operands: 0, 4, 8, 12, 1, 5...
  unsigned* const to = reinterpret_cast<unsigned*>(room) + g / 2 * 8 + g % 2;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j)
      to[(2 * t + i) * ROW * 4 + 2 * j] = ptx::pack_bf16(s[j / 2][2 * (j % 2) + i], s[2 + j / 2][2 * (j % 2) + i]);
  }
  __syncwarp();  // the probabilities are visible
#pragma unroll
  for (int u = 0; u < UNITS; ++u) p[u] = reinterpret_cast<const uint2*>(room + g * ROW)[4 * u + t];
}

/// The warp's next probabilities.
__device__ __forceinline__ uint2 taken(uint2 (&p)[UNITS]) {
  const uint2 first = p[0];
#pragma unroll
  for (int u = 0; u + 1 < UNITS; ++u) p[u] = p[u + 1];
  return first;
}

/// Scores of `count` tokens of the window whose rows of D / 8 vectors, `stride` apart, begin at `rows`.
__device__ __forceinline__ void score_window(float (&s)[4][4], const uint4* query, const uint4* rows, int stride, int count) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll 1
  for (int u = 0; u < UNITS; ++u) {
    const uint4 none = {};
    const uint4 of = query ? query[4 * u + t] : none;
#pragma unroll
    for (int m = 0; m < 4; ++m) {
      uint4 row[2];
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int token = 8 * g + 2 * m + r;
        row[r] = token < count ? rows[(long long)token * stride + 4 * u + t] : make_uint4(0, 0, 0, 0);
      }
      const unsigned a0[4] = {row[0].x, row[1].x, row[0].y, row[1].y}, a1[4] = {row[0].z, row[1].z, row[0].w, row[1].w};
      ptx::mma_bf16(s[m], a0, of.x, of.y);
      ptx::mma_bf16(s[m], a1, of.z, of.w);
    }
  }
}

/// Adds the values of `count` tokens of the window.
__device__ __forceinline__ void add_window(State& state, uint2 (&p)[UNITS], const uint4* rows, int stride, int count) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll 1
  for (int u = 0; u < UNITS; ++u) {
    const uint2 weights = taken(p);
#pragma unroll
    for (int w = 0; w < 2; ++w) {
      unsigned row[4][4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int token = 16 * u + t + 4 * j;
        const uint4 vector = token < count ? rows[(long long)token * stride + 8 * w + g] : make_uint4(0, 0, 0, 0);
        row[j][0] = vector.x, row[j][1] = vector.y, row[j][2] = vector.z, row[j][3] = vector.w;
      }
#pragma unroll
      for (int m = 0; m < 4; ++m) {
        const unsigned a[4] = {__byte_perm(row[0][m], row[1][m], 0x5410), __byte_perm(row[0][m], row[1][m], 0x7632),
                               __byte_perm(row[2][m], row[3][m], 0x5410), __byte_perm(row[2][m], row[3][m], 0x7632)};
        ptx::mma_bf16(state.o[w][m], a, weights.x, weights.y);
      }
    }
  }
}

/// Tiles of a sequence: its groups, then its window.
__device__ __forceinline__ int tiles_of(int groups, int window) { return groups + (window + KEYS - 1) / KEYS; }

/// Writes part [B, Hq, splits, D] (not divided by the sum) and stats [B, Hq, splits] = (maximum, sum).
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM)
bitmap_decode(const unsigned short* __restrict__ q, const unsigned long long* __restrict__ k_bits,
              const unsigned long long* __restrict__ v_bits, const int* __restrict__ k_off, const int* __restrict__ v_off,
              const uint4* __restrict__ k_val, const uint4* __restrict__ v_val, const uint4* __restrict__ k_win,
              const uint4* __restrict__ v_win, const int* __restrict__ groups, const int* __restrict__ window,
              float* __restrict__ part, float2* __restrict__ stats, int C, int W, int G, int chunk, float scale_log2) {
  extern __shared__ __align__(16) unsigned char raw[];
  Shared& shared = *reinterpret_cast<Shared*>(raw);
  __shared__ float2 warp_stats[WARPS][HEADS];
  const int hk = blockIdx.x, Hkv = gridDim.x, split = blockIdx.y, splits = gridDim.y, b = blockIdx.z;
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32, g = lane / 4, t = lane % 4;
  const int packed = groups[b], dense = window[b];
  const int begin = split * chunk, end = min(begin + chunk, tiles_of(packed, dense));
  if (begin >= end) return;
  const long long head = (long long)b * Hkv + hk;
  const Packed keys = {k_bits + head * C * D, k_off + head * (C * D + 1), k_val + head * C * TILE_VECTORS};
  const Packed values = {v_bits + head * C * D, v_off + head * (C * D + 1), v_val + head * C * TILE_VECTORS};
  if (tid < WARPS * STAGES) ptx::mbarrier_init(&shared.full[0][0] + tid, 1);
  ptx::fence_mbarrier_init();
  __syncthreads();  // the barriers are set up
  constexpr int AHEAD = STAGES - 1;
  Slot* const slots = shared.slots[warp];
  uint64_t* const full = shared.full[warp];
  const int last = min(end, packed);
  const int* const borders = (lane < 8 ? keys.offsets : values.offsets) + lane % 8 * UNIT;
  // Lanes 0 to 4: where the values of a tile's units of keys begin and end; 8 to 12: of values.
  const auto bounds_of = [&](int tile) { return tile < last && lane % 8 <= UNITS && lane < 16 ? borders[tile * D] : 0; };
  int bounds = bounds_of(begin + warp), bounds_after = bounds_of(begin + warp + WARPS);
  if (begin + warp < last) {
#pragma unroll
    for (int u = 0; u < AHEAD; ++u)
      fetch(slots[u], full + u, keys.bits + (begin + warp) * D + u * UNIT, keys.vectors, bounds, u);
  }

  // A step of a key takes channels t, t + 4, t + 8 and t + 12 of 16 from lanes (g, t).
  const unsigned short* const query = g < G ? q + (head * G + g) * D : nullptr;
  for (int step = warp; step < 2 * UNITS; step += WARPS) {
    unsigned pair[2] = {};
    for (int j = 0; query && j < 4; ++j) pair[j / 2] |= query[16 * step + t + 4 * j] << 16 * (j % 2);
    shared.q[step][lane] = make_uint2(pair[0], pair[1]);
  }
  __syncthreads();  // the queries are visible

  State state = {{LOWEST, LOWEST}, {0, 0}, {}};
  int slot = 0, free = STAGES - 1;  // the slot before, whose unit is done with
  unsigned parity = 0;
  const auto advance = [&] {
    free = slot;
    parity ^= slot + 1 == STAGES;
    slot = slot + 1 < STAGES ? slot + 1 : 0;
  };
#pragma unroll 1
  for (int tile = begin + warp; tile < end; tile += WARPS) {
    float s[4][4] = {};
    uint2 p[UNITS];
    if (tile < packed) {
#pragma unroll 1
      for (int u = 0; u < UNITS; ++u) {
        const bool is_value = u + AHEAD >= UNITS;
        const int unit = (u + AHEAD) % UNITS;
        fetch(slots[free], full + free, (is_value ? values.bits : keys.bits) + tile * D + unit * UNIT,
              is_value ? values.vectors : keys.vectors, bounds, is_value ? unit + 8 : unit);
        ptx::mbarrier_wait(full + slot, parity);
        find_starts(slots[slot], shared.starts[warp]);
        __syncwarp();  // the starts are visible
        const Reader reader(slots[slot], shared.starts[warp], t, g);
        unsigned a[2][4][4];
        reader.operands<0, 4>(a);
        multiply(s, a, shared.q[2 * u][lane]);
        reader.operands<16, 4>(a);
        multiply(s, a, shared.q[2 * u + 1][lane]);
        if (u + 1 < UNITS) advance();
        __syncwarp();  // nobody reads the unit any more
      }
      soften(state, s, p, reinterpret_cast<uint4*>(slots[slot].values), KEYS, scale_log2);
      advance();
      ptx::fence_proxy_async();
      __syncwarp();  // nobody reads probabilities any more, and copies may take their place
#pragma unroll 1
      for (int u = 0; u < UNITS; ++u) {
        const bool is_key = u + AHEAD >= UNITS;
        const int unit = (u + AHEAD) % UNITS, at = is_key ? tile + WARPS : tile;
        if (at < last)
          fetch(slots[free], full + free, (is_key ? keys.bits : values.bits) + at * D + unit * UNIT,
                is_key ? keys.vectors : values.vectors, is_key ? bounds_after : bounds, is_key ? unit : unit + 8);
        ptx::mbarrier_wait(full + slot, parity);
        find_starts(slots[slot], shared.starts[warp]);
        __syncwarp();  // the starts are visible
        const Reader reader(slots[slot], shared.starts[warp], 2 * t, g);
        const uint2 weights = taken(p);
        unsigned a[2][4][4];
        reader.operands<0, 8>(a);
        multiply(state.o[0], a, weights);
        reader.operands<1, 8>(a);
        multiply(state.o[1], a, weights);
        advance();
        __syncwarp();  // nobody reads the unit any more
      }
      bounds = bounds_after;
      bounds_after = bounds_of(tile + 2 * WARPS);
    } else {
      const int first = (tile - packed) * KEYS, count = min(dense - first, KEYS);
      const long long row = ((long long)b * W + first) * Hkv + hk;
      score_window(s, reinterpret_cast<const uint4*>(query), k_win + row * (D / 8), Hkv * (D / 8), count);
      soften(state, s, p, reinterpret_cast<uint4*>(slots[0].values), count, scale_log2);
      add_window(state, p, v_win + row * (D / 8), Hkv * (D / 8), count);
    }
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int step = 4; step < 32; step *= 2) state.sum[i] += __shfl_xor_sync(~0u, state.sum[i], step);
  }

  __syncthreads();  // nobody reads slots any more
  float(*const warp_o)[HEADS][D] = reinterpret_cast<float(*)[HEADS][D]>(raw);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (g == 0) warp_stats[warp][2 * t + i] = make_float2(state.max[i], state.sum[i]);
#pragma unroll
    for (int w = 0; w < 2; ++w) {
      float4* const to = reinterpret_cast<float4*>(&warp_o[warp][2 * t + i][64 * w + 8 * g]);
#pragma unroll
      for (int half = 0; half < 2; ++half)
        to[half] = make_float4(state.o[w][2 * half][i], state.o[w][2 * half][2 + i], state.o[w][2 * half + 1][i],
                               state.o[w][2 * half + 1][2 + i]);
    }
  }
  __syncthreads();  // every warp's output and statistics are visible
  for (int i = tid; i < G * D; i += THREADS) {
    const int in_group = i / D, d = i % D;
    float max = LOWEST, sum = 0, value = 0;
    for (int w = 0; w < WARPS; ++w) max = fmaxf(max, warp_stats[w][in_group].x);
    for (int w = 0; w < WARPS; ++w) {
      const float shrink = ptx::ex2(warp_stats[w][in_group].x - max);
      sum += warp_stats[w][in_group].y * shrink;
      value += warp_o[w][in_group][d] * shrink;
    }
    const long long row = (head * G + in_group) * splits + split;
    part[row * D + d] = value;
    if (d == 0) stats[row] = make_float2(max, sum);
  }
}

/// One block per row (b, h): merges the chunks that hold keys, in PARTS at once.
template <int PARTS>
__global__ void __launch_bounds__(PARTS* D)
combine(const float* __restrict__ part, const float2* __restrict__ stats, const int* __restrict__ groups,
        const int* __restrict__ window, unsigned short* __restrict__ o, float* __restrict__ lse, int Hq, int splits, int chunk) {
  const long long row = blockIdx.x;
  const int d = threadIdx.x % D, first = threadIdx.x / D, lane = threadIdx.x % 32;
  const int tiles = tiles_of(groups[row / Hq], window[row / Hq]), used = (tiles + chunk - 1) / chunk;
  part += row * splits * D + d;
  stats += row * splits;
  __shared__ float weights[SPLITS_MAX], values[PARTS][D];
  ptx::griddepcontrol_wait();  // the parts are there
  // Every warp weighs all chunks; then a thread sums a channel over every PARTS-th of them.
  float2 piece[SPLITS_MAX / 32];
  float max = LOWEST, sum = 0;
#pragma unroll
  for (int i = 0; i < SPLITS_MAX / 32; ++i) {
    piece[i] = i * 32 + lane < used ? stats[i * 32 + lane] : make_float2(LOWEST, 0);
    max = fmaxf(max, piece[i].x);
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) max = fmaxf(max, __shfl_xor_sync(~0u, max, step));
#pragma unroll
  for (int i = 0; i < SPLITS_MAX / 32; ++i) {
    const float weight = i * 32 + lane < used ? ptx::ex2(piece[i].x - max) : 0.0f;
    if (threadIdx.x < 32) weights[i * 32 + lane] = weight;
    sum += piece[i].y * weight;
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
  __syncthreads();  // the weights are visible
  float value = 0;
#pragma unroll 8
  for (int split = first; split < used; split += PARTS) value += part[split * D] * weights[split];
  values[first][d] = value;
  __syncthreads();  // all parts' sums are visible
  if (first != 0) return;
#pragma unroll
  for (int i = 1; i < PARTS; ++i) value += values[i][d];
  o[row * D + d] = (unsigned short)ptx::pack_bf16(tiles > 0 ? value / sum : 0.0f, 0);
  if (d == 0) lse[row] = tiles > 0 ? max * LN2 + logf(sum) : -INFINITY;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int group = p.Hq / p.Hkv, tiles = p.C + kl::cdiv(p.W, KEYS);
  if (!plan.require(group <= HEADS, "more than 8 query heads to a key-value head")) return;
  if (!plan.require((int)sizeof(Shared) <= p.device.shared_bytes_max, "the slots exceed shared memory")) return;
  // Whole waves of blocks, each with a tile for every warp at least.
  const long long wanted = (long long)WAVES * p.device.sms * BLOCKS_PER_SM / ((long long)p.B * p.Hkv);
  const int chunk = kl::max(kl::cdiv(tiles, (int)kl::clamp(wanted, 1ll, (long long)SPLITS_MAX)), WARPS);
  const int splits = kl::cdiv(tiles, chunk);
  const auto part = plan.workspace(kl::f32, (long long)p.B * p.Hq * splits * D);
  const auto stats = plan.workspace(kl::f32, (long long)p.B * p.Hq * splits * 2);
  plan.launch("bitmap_decode").grid(p.Hkv, splits, p.B).block(THREADS).shared(sizeof(Shared))
      .arg(p.q).arg(p.k_bits).arg(p.v_bits).arg(p.k_off).arg(p.v_off).arg(p.k_val).arg(p.v_val).arg(p.k_win).arg(p.v_win)
      .arg(p.groups).arg(p.window).arg(part).arg(stats).arg(p.C).arg(p.W).arg(group).arg(chunk).arg(p.scale * 1.44269504f);
  const bool is_long = splits >= 16;
  plan.launch(is_long ? "combine<4>" : "combine<1>").grid(p.B * p.Hq).block(is_long ? 4 * D : D).programmatic()
      .arg(part).arg(stats).arg(p.groups).arg(p.window).arg(p.o).arg(p.lse).arg(p.Hq).arg(splits).arg(chunk);
}
