// SPDX-License-Identifier: Apache-2.0
// A candidate's output against the float64 reference, by rows.
//
//   harness_compare   one block per gated part of a row: values, log-sum-exp, codes, bitmaps, exact integers
//   harness_select    one block per row of selected indices: right up to ties of the reference's scores
//   harness_worst     one block: the worst of all results of an output

enum Compare : int { k_values, k_log_sum_exp, k_selection, k_codes_compare, k_bitmap, k_exact };

// Mirrors of compare.h.
struct Axis { i64 extent, out, gold; };  // strides in the output (in codes) and within a reference row

struct CompareOrder {
  const void* output;
  const double* gold;      // [rows listed, columns]
  const double* emulated;  // the same of an emulated honest kernel, or null
  const i64* rows;
  struct RowResult* results;
  unsigned char* marks;    // selections: [rows listed, columns], zero; rows begin at multiples of four
  i64 columns, parts, tile, chosen;  // chosen: indices in an output row of a selection
  Axis row[6], per[6], inner[6];     // slowest first
  int row_rank, per_rank, inner_rank;
  int dtype, compare, bits, is_signed, is_ordered;
  double row_gate, ulp, rms_factor, absolute, emulated_factor, distance, tie, tie_rms;
};

struct RowResult {
  double row;       // rms(e) / rms(g); huge if g is all zero and e is not
  double share;     // that over its gate; above 1 fails
  double element;   // worst |e| over what is allowed; above 1 fails
  double mismatch;  // elements that are not finite where g is, differ where g is not, or break a rule; any fails
};

__device__ double block_sum(double value, double* scratch) {
  scratch[threadIdx.x] = value;
  __syncthreads();
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) scratch[threadIdx.x] += scratch[threadIdx.x + half];
    __syncthreads();
  }
  const double total = scratch[0];
  __syncthreads();  // the scratch is reused by the next reduction
  return total;
}

__device__ double block_max(double value, double* scratch) {
  scratch[threadIdx.x] = value;
  __syncthreads();
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) scratch[threadIdx.x] = fmax(scratch[threadIdx.x], scratch[threadIdx.x + half]);
    __syncthreads();
  }
  const double total = scratch[0];
  __syncthreads();
  return total;
}

// Code `index` of an output: an element, or some bits of one.
__device__ double load_code(const CompareOrder& o, i64 index) {
  if (o.bits == 0) return load(o.output, o.dtype, index);
  const int width = o.dtype == i64_ ? 64 : o.dtype == i32 ? 32 : 8, in_word = width / o.bits;
  const i64 word = index / in_word;
  const int shift = (int)(index % in_word) * o.bits;
  u64 value = width == 64 ? ((const u64*)o.output)[word] : width == 32 ? ((const u32*)o.output)[word] : ((const unsigned char*)o.output)[word];
  value >>= shift;
  if (o.bits < 64) value &= (1ull << o.bits) - 1;
  if (o.is_signed && o.bits < 64 && (value >> (o.bits - 1))) return (double)(i64)(value | ~((1ull << o.bits) - 1));
  return (double)value;
}

// What a code may differ from an unrounded one counts in this; codes saturate.
__device__ double code_unit(int dtype, double& gold) {
  if (dtype != e4m3 && dtype != e5m2) return 1;
  const double largest = dtype == e4m3 ? 448 : 57344;
  gold = fmin(fmax(gold, -largest), largest);
  const int exponent = gold == 0 ? -100 : ilogb(gold);
  return ldexp(1.0, max(exponent, dtype == e4m3 ? -6 : -14) - (dtype == e4m3 ? 3 : 2));
}

__device__ double saturated(const CompareOrder& o, double gold) {
  if (o.dtype == f16 || o.dtype == bf16 || o.dtype == f32 || o.dtype == f64 || o.dtype == e4m3 || o.dtype == e5m2) return gold;
  const int bits = o.bits ? o.bits : o.dtype == i64_ ? 64 : o.dtype == i32 ? 32 : 8;
  const bool is_signed = o.bits ? o.is_signed : o.dtype != u8;
  const double high = is_signed ? ldexp(1.0, bits - 1) - 1 : ldexp(1.0, bits) - 1;
  return fmin(fmax(gold, is_signed ? -high - 1 : 0.0), high);
}

// This block's part of a row: where it begins, and its elements.
struct Part {
  const CompareOrder& o;
  i64 out, gold, elements;
  i64 tile_length;
  __device__ explicit Part(const CompareOrder& order) : o(order) {
    const i64 listed = blockIdx.x / o.parts;
    i64 row = o.rows[listed], part = blockIdx.x % o.parts;
    out = 0;
    gold = listed * o.columns;
    for (int a = o.row_rank; a-- > 0;) {
      out += row % o.row[a].extent * o.row[a].out;
      row /= o.row[a].extent;
    }
    tile_length = 1;
    for (int a = o.per_rank; a-- > 0;) {
      const i64 step = a == 0 ? o.tile : 1, count = (o.per[a].extent + step - 1) / step, at = part % count * step;
      part /= count;
      out += at * o.per[a].out;
      gold += at * o.per[a].gold;
      if (a == 0) tile_length = min(step, o.per[a].extent - at);
    }
    elements = tile_length;
    for (int a = 0; a < o.inner_rank; ++a) elements *= o.inner[a].extent;
  }
  __device__ void locate(i64 i, i64& out_at, i64& gold_at) const {
    out_at = out;
    gold_at = gold;
    for (int a = o.inner_rank; a-- > 0;) {
      out_at += i % o.inner[a].extent * o.inner[a].out;
      gold_at += i % o.inner[a].extent * o.inner[a].gold;
      i /= o.inner[a].extent;
    }
    if (o.per_rank > 0) out_at += i * o.per[0].out, gold_at += i * o.per[0].gold;
  }
};

// Codes, bitmaps and integers: no rounding beyond what the kind allows.
__device__ void compare_discrete(const Part& part, double* scratch, RowResult& result) {
  const CompareOrder& o = part.o;
  double mismatch = 0, worst = 0;
  for (i64 i = threadIdx.x; i < part.elements; i += blockDim.x) {
    i64 at, gold_at;
    part.locate(i, at, gold_at);
    double g = o.gold[gold_at];
    const double code = load_code(o, at);
    if (o.compare == k_exact) {
      mismatch += code == g ? 0 : 1;
    } else if (o.compare == k_bitmap) {
      if (fabs(g) > o.tie) mismatch += (code != 0) == (g > 0) ? 0 : 1;
    } else if (!isfinite(code) || !isfinite(g)) {
      mismatch += 1;
    } else {
      const double unit = code_unit(o.dtype, g);
      worst = fmax(worst, fabs(code - saturated(o, g)) / (o.distance * unit));
    }
  }
  mismatch = block_sum(mismatch, scratch);
  worst = block_max(worst, scratch);
  result = {0, 0, worst, mismatch};
}

__device__ void compare_values(const Part& part, double* scratch, RowResult& result) {
  const CompareOrder& o = part.o;
  double e2 = 0, g2 = 0, h2 = 0, honest = 0, mismatch = 0;
  for (i64 i = threadIdx.x; i < part.elements; i += blockDim.x) {
    i64 at, gold_at;
    part.locate(i, at, gold_at);
    const double g = o.gold[gold_at], value = load(o.output, o.dtype, at);
    if (!isfinite(g) || !isfinite(value)) {
      mismatch += value == g ? 0.0 : 1.0;
      continue;
    }
    e2 += (value - g) * (value - g);
    g2 += g * g;
    if (o.emulated) {
      const double h = o.emulated[gold_at] - g;
      h2 += h * h;
      honest = fmax(honest, fabs(h));
    }
  }
  e2 = block_sum(e2, scratch);
  g2 = block_sum(g2, scratch);
  mismatch = block_sum(mismatch, scratch);
  if (o.emulated) h2 = block_sum(h2, scratch), honest = block_max(honest, scratch);
  const double rms = sqrt(g2 / (double)part.elements);
  double worst = 0;
  for (i64 i = threadIdx.x; i < part.elements; i += blockDim.x) {
    i64 at, gold_at;
    part.locate(i, at, gold_at);
    const double g = o.gold[gold_at], value = load(o.output, o.dtype, at);
    if (!isfinite(g) || !isfinite(value)) continue;
    const double e = fabs(value - g);
    const double allowed = fmax(o.absolute + o.ulp * fabs(g) + o.rms_factor * rms, o.emulated_factor * honest);
    if (e > 0) worst = fmax(worst, allowed > 0 ? e / allowed : 1e30);
  }
  worst = block_max(worst, scratch);
  const double gate2 = fmax(o.row_gate * o.row_gate * g2, o.emulated_factor * o.emulated_factor * h2);
  result.row = g2 > 0 ? sqrt(e2 / g2) : (e2 > 0 ? 1e30 : 0.0);
  result.share = o.compare == k_log_sum_exp || e2 == 0 ? 0.0 : gate2 > 0 ? sqrt(e2 / gate2) : 1e30;
  result.element = worst;
  result.mismatch = mismatch;
}

extern "C" __global__ void __launch_bounds__(128) harness_compare(const CompareOrder o) {
  __shared__ double scratch[128];
  const Part part(o);
  RowResult result;
  if (o.compare == k_values || o.compare == k_log_sum_exp) compare_values(part, scratch, result);
  else compare_discrete(part, scratch, result);
  if (threadIdx.x == 0) o.results[blockIdx.x] = result;
}

// Doubles in an order of integers: larger ones have larger keys.
__device__ __forceinline__ u64 sortable(double value) {
  const u64 bits = (u64)__double_as_longlong(value);
  return bits >> 63 ? ~bits : bits | (1ull << 63);
}
__device__ __forceinline__ double of_sortable(u64 key) {
  return __longlong_as_double((i64)(key >> 63 ? key & ~(1ull << 63) : ~key));
}

// The `wanted`-th largest score: bit by bit the largest key that so many reach.
__device__ double kth_score(const double* scores, i64 count, double wanted, double* scratch) {
  u64 key = 0;
  for (int bit = 63; bit >= 0; --bit) {
    const u64 trial = key | (1ull << bit);
    double reached = 0;
    for (i64 i = threadIdx.x; i < count; i += blockDim.x) reached += sortable(scores[i]) >= trial ? 1 : 0;
    if (block_sum(reached, scratch) >= wanted) key = trial;
  }
  return of_sortable(key);
}

// Row of indices: the reference's scores say which are best; -infinity cannot be chosen, +infinity must be. Missing
// choices are -1, at the end, where fewer can be chosen than there is room.
extern "C" __global__ void __launch_bounds__(128) harness_select(const CompareOrder o) {
  __shared__ double scratch[128];
  const double* scores = o.gold + (i64)blockIdx.x * o.columns;
  unsigned char* marks = o.marks + (i64)blockIdx.x * ((o.columns + 3) / 4 * 4);
  i64 row = o.rows[blockIdx.x], base = 0;
  for (int a = o.row_rank; a-- > 0;) {
    base += row % o.row[a].extent * o.row[a].out;
    row /= o.row[a].extent;
  }
  const i64 step = o.inner[0].out;
  double eligible = 0, squares = 0, finite = 0, mismatch = 0, worst = 0;
  for (i64 i = threadIdx.x; i < o.columns; i += blockDim.x) {
    const double score = scores[i];
    if (isnan(score)) mismatch += 1;
    if (score > -1e308) eligible += 1;
    if (isfinite(score)) finite += 1, squares += score * score;
  }
  eligible = block_sum(eligible, scratch);
  finite = block_sum(finite, scratch);
  squares = block_sum(squares, scratch);
  const double wanted = fmin(eligible, (double)o.chosen);
  const double kth = wanted > 0 ? kth_score(scores, o.columns, wanted, scratch) : 1e308;
  const double slack = isfinite(kth) ? o.tie * fabs(kth) + o.tie_rms * sqrt(squares / fmax(finite, 1.0)) : 0;
  for (i64 e = threadIdx.x; e < o.chosen; e += blockDim.x) {
    const double index = load(o.output, o.dtype, base + e * step);
    if (e >= (i64)wanted) {
      mismatch += index == -1 ? 0 : 1;
      continue;
    }
    if (!(index >= 0 && index < (double)o.columns)) {
      mismatch += 1;
      continue;
    }
    const i64 at = (i64)index;
    // A byte of a word: duplicates show as the second who comes.
    u32* word = (u32*)((u64)(marks + at) & ~3ull);
    const u32 bit = 1u << (((u64)(marks + at) & 3) * 8);
    if (atomicOr(word, bit) & bit) mismatch += 1;
    const double score = scores[at], short_of = kth - score;
    if (!(score > -1e308)) mismatch += 1;
    else if (short_of > 0) worst = fmax(worst, slack > 0 ? short_of / slack : 1e30);
    if (o.is_ordered && e > 0) {
      const double before = load(o.output, o.dtype, base + (e - 1) * step);
      if (before >= 0 && before < (double)o.columns && scores[(i64)before] < score - slack) mismatch += 1;
    }
  }
  __syncthreads();  // every mark is visible
  for (i64 i = threadIdx.x; i < o.columns; i += blockDim.x) {
    const double above = scores[i] - kth;
    if (scores[i] > kth && above > 0 && !marks[i]) worst = fmax(worst, slack > 0 ? above / slack : 1e30);
  }
  mismatch = block_sum(mismatch, scratch);
  worst = block_max(worst, scratch);
  if (threadIdx.x == 0) o.results[blockIdx.x] = {0, 0, worst, mismatch};
}

struct WorstResult {
  double row, share, element, mismatch;
  i64 index;  // of the result that decides
};

// The larger, where NaN is larger than everything: it must not be lost.
__device__ __forceinline__ bool is_worse(double a, double b) { return isnan(a) ? !isnan(b) : a > b; }
__device__ __forceinline__ double worse_of(double a, double b) { return is_worse(a, b) ? a : b; }
__device__ __forceinline__ double badness(const WorstResult& r) { return worse_of(r.share, r.element) + (r.mismatch > 0 ? 1e31 : 0.0); }

// `badness` of what decides travels beside it: shares are kept apart from the mismatches of others.
__device__ void take_worse(WorstResult& all, double& all_badness, const WorstResult& one, double one_badness) {
  if (one.index < 0) return;
  if (all.index < 0 || is_worse(one_badness, all_badness)) all.index = one.index, all_badness = one_badness;
  all.row = worse_of(all.row, one.row);
  all.share = worse_of(all.share, one.share);
  all.element = worse_of(all.element, one.element);
  all.mismatch += one.mismatch;
}

extern "C" __global__ void __launch_bounds__(256) harness_worst(const RowResult* results, i64 count, WorstResult* worst) {
  __shared__ WorstResult best[256];
  __shared__ double worst_badness[256];
  WorstResult mine = {0, 0, 0, 0, -1};
  double mine_badness = -1;
  for (i64 i = threadIdx.x; i < count; i += blockDim.x) {
    const WorstResult one = {results[i].row, results[i].share, results[i].element, results[i].mismatch, i};
    take_worse(mine, mine_badness, one, badness(one));
  }
  best[threadIdx.x] = mine;
  worst_badness[threadIdx.x] = mine_badness;
  __syncthreads();  // every thread's worst is visible
  if (threadIdx.x != 0) return;
  WorstResult all = best[0];
  double all_badness = worst_badness[0];
  for (int t = 1; t < (int)blockDim.x; ++t) {
    take_worse(all, all_badness, best[t], worst_badness[t]);
  }
  *worst = all;
}
