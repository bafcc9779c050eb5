// SPDX-License-Identifier: Apache-2.0
// Inputs from a counter-based generator: value i depends on (seed, i) alone, what tensors share on `pattern`.
//
//   harness_fill      one fill kind over a tensor, or a nominal one with another hidden in some sequences
//   harness_unit      vectors along the last axis get one length
//   harness_invalid   NaN in what belongs to no sequence: what a candidate must not read into its result

// Kinds of engine/core/fill_kind.cpp, in its order.
enum FillKind : int {
  k_normal, k_uniform, k_constant, k_shifted, k_rising, k_one_hot, k_heavy_tail, k_signs, k_spike, k_tail_mass,
  k_permuted_one_hot, k_student_t, k_repeated, k_edge_values, k_coherent, k_segments, k_impulse, k_sigmoid,
  k_log_sigmoid, k_gaps, k_log_uniform, k_codes, k_integers, k_bits, k_index_set
};

// Mirrors of fill.h.
struct DrawnAs {
  int kind;
  float p[4];       // the kind's parameters, in the table's order
  float head_step;  // values of head h are multiplied by 1 + head_step * h
  float grid;       // > 0: values are rounded to multiples of it
};
struct LeadingEntry { int owner, start, count, valid; };  // of one index of the leading axis

struct FillOrder {
  void* out;
  const LeadingEntry* map;  // null: every leading index is a sequence of `tokens` tokens
  u64 seed, pattern;
  i64 count, leading, tokens, inner, columns;  // elements; per leading index; tokens of one; per token; of a vector
  i64 head_stride, heads, head_groups;
  i64 nominal_prefix;  // elements that are never of the hidden kind
  int dtype;
  float hidden;        // share of sequences and heads that are `as`; 0: all
  DrawnAs as, nominal;
};

// Where element i lies. Divisions only where a kind needs them: gigabytes are filled in every round of a duel.
struct Place {
  const FillOrder& o;
  i64 i;
  __device__ LeadingEntry entry() const {
    const i64 index = i / o.leading;
    return o.map ? o.map[index] : LeadingEntry{(int)index, 0, (int)o.tokens, (int)o.tokens};
  }
  __device__ i64 column() const { return i % o.columns; }
  __device__ i64 token() const { return (o.map ? entry().start : 0) + (i / o.inner) % o.tokens; }
  __device__ i64 length() const { return o.map ? max(entry().count, 1) : o.tokens; }
  __device__ i64 head() const { return o.heads > 1 ? (i / o.head_stride) % o.heads : 0; }
  // The same for all tensors with these heads: positions that must agree between keys and values derive from it.
  __device__ u64 group() const { return mix(o.pattern ^ mix((u64)entry().owner * 4099 + (u64)head())); }
  __device__ bool is_hidden() const {
    const u64 shared_head = (u64)(head() * o.head_groups / o.heads);
    const u64 draw = mix(o.pattern + 17 + mix((u64)entry().owner * 4099 + shared_head));
    return i >= o.nominal_prefix && unit((u32)draw) < o.hidden;
  }
  // Of the sequence's tokens one that stands out: any, the last, or the first of a block of 64.
  __device__ i64 hot() const {
    const u64 draw = group();
    const i64 any = (i64)((draw >> 8) % (u64)length());
    if ((draw & 3) == 0) return length() - 1;
    return (draw & 3) == 1 ? any / 64 * 64 : any;
  }
  // A pattern of signs over the last axis, the same in all tensors: fills that shift or trend correlate through it.
  __device__ float sign() const { return (mix(o.pattern + (u64)column() * 2 + 1) & 1) ? 1.0f : -1.0f; }
};

// Entry `index` of a random order of 0 .. size - 1: a Feistel network over the next even number of bits, walked until it
// falls into the range (Black and Rogaway 2002).
__device__ u32 permuted(u64 key, u32 index, u32 size) {
  int half = 1;
  while ((1ull << (2 * half)) < size) ++half;
  const u32 mask = (1u << half) - 1;
  u32 x = index;
  do {
    for (int round = 0; round < 4; ++round) {
      const u32 left = x >> half, right = x & mask;
      x = (right << half) | (left ^ ((u32)mix(key + (u64)round * 0x1000193 + right) & mask));
    }
  } while (x >= size);
  return x;
}

__device__ float smallest_of(int dtype) {  // the least subnormal
  return dtype == f16 ? 0x1p-24f : dtype == bf16 ? 0x1p-133f : dtype == e4m3 ? 0x1p-9f : dtype == e5m2 ? 0x1p-16f : 0x1p-149f;
}

__device__ float edge_value(u64 draw, int dtype, float otherwise, float share) {
  if (unit((u32)draw) >= share) return otherwise;
  const float least = smallest_of(dtype);
  const float values[] = {0.0f, -0.0f, least, -least, 3 * least, 0x1p-6f};
  return values[(draw >> 32) % 6];
}

__device__ float drawn(const Place& at, const DrawnAs& as, u64 bits) {
  const float p0 = as.p[0], p1 = as.p[1], p2 = as.p[2], p3 = as.p[3];
  const FillOrder& o = at.o;
  switch (as.kind) {
    case k_normal: return __fmaf_rn(p1, normal(bits), p0);
    case k_uniform: return __fmaf_rn(p1 - p0, unit((u32)bits), p0);
    case k_constant: return p0;
    case k_shifted: return __fmaf_rn(p1, normal(bits), p0 * at.sign());
    case k_rising: return __fmaf_rn(p1, normal(bits), __fmul_rn(p0 * at.sign(), __fdiv_rn((float)(at.token() + 1), (float)at.length())));
    case k_one_hot: {  // about p1 tokens of a sequence carry p0, in one column that their hash chooses
      const u64 draw = mix(o.seed ^ mix((u64)(at.i / o.columns) * 2654435761ull + 1));
      const bool is_chosen = unit((u32)draw) * (float)at.length() < p1;
      return is_chosen && (i64)((draw >> 32) % (u64)o.columns) == at.column() ? p0 : 0.0f;
    }
    case k_heavy_tail:  // one column in p2 is an outlier channel
      return p1 * normal(bits) * (mix(o.seed ^ (u64)at.column()) % (u64)max(p2, 1.0f) == 0 ? p0 : 1.0f);
    case k_signs: return p0 * at.sign();
    case k_spike: return __fmaf_rn(p1, normal(bits), at.token() == at.hot() ? p0 * at.sign() : 0.0f);
    case k_tail_mass: {  // every token but the hot one is the same small vector, which together weigh as much as it
      const float share = __fdiv_rn(exponential(p0), (float)max(at.length() - 1, (i64)1));
      return at.token() == at.hot() ? p1 * normal(bits) : fminf(share, p2) * at.sign();
    }
    case k_permuted_one_hot: {
      const u64 draw = mix(o.pattern + 3);
      const u64 channel = ((u64)at.token() * (draw | 1) + (draw >> 32)) % (u64)o.columns;
      return (i64)channel == at.column() ? p0 : 0.0f;
    }
    case k_student_t: {  // three degrees of freedom
      const float a = normal(mix(bits + 1)), b = normal(mix(bits + 2)), c = normal(mix(bits + 3));
      const float squares = __fmaf_rn(a, a, __fmaf_rn(b, b, __fmul_rn(c, c)));
      return p0 * __fdiv_rn(normal(bits), __fsqrt_rn(__fmul_rn(squares, 0.33333334f)) + 0x1p-20f);
    }
    case k_repeated: {  // p0 neighbours alike; 0: all tokens of a sequence
      const u64 block = p0 >= 1 ? (u64)at.token() / (u64)p0 : 0;
      return p1 * normal(mix(o.seed ^ mix(at.group() + mix(block * 0x10001 + (u64)(at.i % o.inner)))));
    }
    case k_edge_values: return edge_value(mix(bits), o.dtype, p1 * normal(bits), p0);
    case k_coherent: return __fmaf_rn(p0, normal(bits), normal(mix(at.group() + (u64)at.column())));
    case k_segments: return (mix(at.group() + (u64)at.token() / (u64)max(p2, 1.0f)) & 1) ? p1 : p0;
    case k_impulse: {  // one token next to a border of chunks holds all
      const u64 draw = at.group();
      const i64 chunk = max((i64)p1, (i64)1), chunks = max(at.length() / chunk, (i64)1);
      const i64 border = ((i64)((draw >> 8) % (u64)chunks) + 1) * chunk + (i64)(draw % 3) - 1;
      return at.token() == min(border, at.length() - 1) ? p0 * normal(bits) : 0.0f;
    }
    case k_sigmoid: return __fdiv_rn(1.0f, 1.0f + exponential(-__fmaf_rn(p1, normal(bits), p0)));
    case k_log_sigmoid: {
      const float x = __fmaf_rn(p1, normal(bits), p0);
      return -__fdiv_rn(fmaxf(-x, 0.0f) + natural_log(1.0f + exponential(-fabsf(x))), p2);
    }
    case k_gaps: return unit((u32)mix(bits)) < p2 ? -__int_as_float(0x7F800000) : __fmaf_rn(p1, normal(bits), p0);
    case k_log_uniform: {
      const float low = natural_log(p0), high = natural_log(p1);
      const float value = exponential(__fmaf_rn(high - low, unit((u32)bits), low));
      return unit((u32)(bits >> 32)) < p3 ? value * p2 : value;
    }
    default: return 0.0f;
  }
}

__device__ u64 finite_code(int dtype, u64 bits, float extreme_share) {
  const bool is_extreme = unit((u32)(bits >> 32)) < extreme_share;
  const u64 sign = bits & 0x80;
  switch (dtype) {
    case e4m3: return is_extreme || (bits & 0x7F) == 0x7F ? (sign | 0x7E) : bits;
    case e5m2: return is_extreme || (bits & 0x7C) == 0x7C ? (sign | 0x7B) : bits;
    case i8: return is_extreme ? (sign ? 0x80 : 0x7F) : bits;
    default: return is_extreme ? (sign ? 0x00 : 0xFF) : bits;
  }
}

// Every bit is set with probability `density`, to 1/256: its binary digits decide between "or" and "and" with coins.
__device__ u64 random_bits(u64 bits, float density) {
  const u32 digits = (u32)fminf(fmaxf(rintf(density * 256.0f), 0.0f), 256.0f);
  if (digits == 256) return ~0ull;
  u64 result = 0;
  for (int digit = 0; digit < 8; ++digit) {
    const u64 coins = mix(bits + (u64)digit + 1);
    result = (digits >> digit) & 1 ? result | coins : result & coins;
  }
  return result;
}

// Distinct indices below a limit; with blocks, of the token's own block (first) and those before it; -1 where there are
// no more.
__device__ i64 index_of_set(const Place& at, const float* p) {
  const i64 entry = at.column(), row = at.i / at.o.columns;
  const u64 key = mix(at.o.seed ^ mix((u64)row));
  if (unit((u32)mix(key + 5)) < p[2] && entry > (i64)(mix(key + 6) % (u64)at.o.columns)) return -1;
  if (p[1] < 1) return entry < (i64)p[0] ? (i64)permuted(key, (u32)entry, (u32)p[0]) : -1;
  const i64 own = at.token() / (i64)p[1];
  if (entry == 0) return own;
  return entry <= own ? (i64)permuted(key, (u32)(entry - 1), (u32)own) : -1;
}

__device__ void store_integer(void* base, int dtype, i64 index, i64 value) {
  switch (dtype) {
    case i32: ((int*)base)[index] = (int)value; break;
    case i64_: ((i64*)base)[index] = value; break;
    default: ((unsigned char*)base)[index] = (unsigned char)value; break;
  }
}

extern "C" __global__ void __launch_bounds__(256) harness_fill(const FillOrder o) {
  const i64 stride = (i64)gridDim.x * blockDim.x;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < o.count; i += stride) {
    const u64 bits = mix(o.seed ^ mix((u64)i));
    const Place at{o, i};
    const DrawnAs& as = o.hidden > 0 && !at.is_hidden() ? o.nominal : o.as;
    switch (as.kind) {
      case k_codes: store_integer(o.out, o.dtype, i, (i64)finite_code(o.dtype, bits, as.p[0])); continue;
      case k_bits: store_integer(o.out, o.dtype, i, (i64)random_bits(bits, as.p[0])); continue;
      case k_index_set: store_integer(o.out, o.dtype, i, index_of_set(at, as.p)); continue;
      case k_integers: {
        const i64 low = (i64)as.p[0];
        store_integer(o.out, o.dtype, i, low + (i64)(bits % (u64)max((i64)as.p[1] - low + 1, (i64)1)));
        continue;
      }
      default: break;
    }
    float value = drawn(at, as, bits);
    if (as.head_step != 0) value *= __fmaf_rn(as.head_step, (float)at.head(), 1.0f);
    if (as.grid > 0) value = rintf(__fdiv_rn(value, as.grid)) * as.grid;
    store(o.out, o.dtype, i, value);
  }
}

// One warp per vector of `columns` elements: scaled to the Euclidean length `length`.
extern "C" __global__ void __launch_bounds__(128)
harness_unit(void* out, int dtype, i64 vectors, i64 columns, float length) {
  const int lane = threadIdx.x % k_lanes;
  const i64 stride = (i64)gridDim.x * (blockDim.x / k_lanes);
  for (i64 v = (i64)blockIdx.x * (blockDim.x / k_lanes) + threadIdx.x / k_lanes; v < vectors; v += stride) {
    double sum = 0;
    for (i64 c = lane; c < columns; c += k_lanes) {
      const double x = load(out, dtype, v * columns + c);
      sum += x * x;
    }
    sum = sum_of_lanes(sum);
    const double factor = sum > 0 ? (double)length / sqrt(sum) : 0;
    for (i64 c = lane; c < columns; c += k_lanes) {
      store(out, dtype, v * columns + c, (float)(load(out, dtype, v * columns + c) * factor));
    }
  }
}

// NaN where a leading index has fewer valid tokens; in integers a value that stands out.
extern "C" __global__ void __launch_bounds__(256)
harness_invalid(void* out, i64 count, int dtype, const LeadingEntry* map, i64 leading, i64 tokens, i64 inner) {
  const i64 stride = (i64)gridDim.x * blockDim.x;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
    if ((i / inner) % tokens < map[i / leading].valid) continue;
    switch (dtype) {
      case bf16:
      case f16: ((unsigned short*)out)[i] = 0x7FFF; break;
      case f32: ((u32*)out)[i] = 0x7FFFFFFFu; break;
      case f64: ((u64*)out)[i] = 0x7FFFFFFFFFFFFFFFull; break;
      case i32: ((int*)out)[i] = 0x7F7F7F7F; break;
      case i64_: ((i64*)out)[i] = 0x7F7F7F7F7F7F7F7Fll; break;
      default: ((unsigned char*)out)[i] = 0x7F; break;
    }
  }
}
