// SPDX-License-Identifier: Apache-2.0
// Planted bugs of addressing: out of bounds, misaligned, writes to inputs, unwritten bytes, missing outputs (planted.cuh).
#include "planted.cuh"
#include <mma.h>

KERNEL out_of_bounds__ragged_key_tile(ARGS) {  // tiles of 5 keys do not divide 16
  INDICES;
  __shared__ float k_tile[5][16];
  float acc = 0;
  for (int tile = 0; tile < 4; ++tile) {
    for (int e = tid; e < 80; e += 64) {
      const int key = tile * 5 + e / 16;
      k_tile[e / 16][e % 16] = BUG(true, key < 16) ? a[key * 16 + e % 16] : 0.0f;  // <- bug
    }
    __syncthreads();
    for (int j = 0; j < 5; ++j) acc += a[q * 16 + d] * k_tile[j][d];
    __syncthreads();
  }
  o[i] = acc;
}
KERNEL out_of_bounds__head_stride(ARGS) {  // cache [head 4][key 4][16], the stride of a cache of 5 keys
  INDICES;
  const int head = blockIdx.x, keys = BUG(5, 4);
  o[i] = 2 * a[(head * keys + r) * 16 + d];  // <- bug
}
KERNEL out_of_bounds__page_past_the_pool(ARGS) {  // page numbers that count from one
  INDICES;
  const unsigned page = w[blockIdx.x] + blockIdx.x + BUG(1, 0);
  o[i] = a[page * 64 + tid];  // <- bug
}
KERNEL out_of_bounds__norm_inclusive_end(ARGS) {
  INDICES;
  const int columns = n / 16;
  float sum = 0;
  for (int c = d; c BUG(<=, <) columns; c += 16) {
    const float x = a[q * columns + c];  // <- bug
    sum += x * x;
  }
  for (int step = 8; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  o[i] = a[i] * rsqrtf(sum / columns + 1e-5f);
}
KERNEL out_of_bounds__window_before_the_start(ARGS) {  // sliding window of 4 keys
  INDICES;
  float acc = 0;
  for (int k = BUG(q - 3, max(q - 3, 0)); k <= q; ++k) {
    acc += a[k * 16 + d];  // <- bug
  }
  o[i] = acc;
}
KERNEL out_of_bounds__unsigned_countdown(ARGS) {  // one key before the first
  INDICES;
  float acc = 0;
  for (unsigned k = q; k != static_cast<unsigned>(BUG(-2, -1)); --k) {
    acc += a[k * 16 + d];  // <- bug
  }
  o[i] = acc;
}
KERNEL out_of_bounds__padded_rows_in_dynamic_shared(ARGS) {  // launch: shared 256
  INDICES;
  extern __shared__ float rows[];
  rows[r * BUG(17, 16) + d] = a[i];  // <- bug
  __syncthreads();
  o[i] = rows[(3 - r) * BUG(17, 16) + d];
}
KERNEL out_of_bounds__dynamic_shared_second_array(ARGS) {  // launch: shared 512
  INDICES;  // keys and values of 64 floats, the values placed behind 128
  extern __shared__ float keys[];
  float* values = keys + BUG(128, 64);
  keys[tid] = a[i];
  values[tid] = 2 * a[i];  // <- bug
  __syncthreads();
  o[i] = keys[63 - tid] + values[63 - tid];
}
KERNEL out_of_bounds__ldmatrix_rows(ARGS) {  // 8 rows are there, an x4 of two row tiles asks for 16
  INDICES;
  __shared__ __align__(16) __half tile[8][16];
  for (int e = tid; e < 128; e += 64) tile[e / 16][e % 16] = __float2half(a[e]);
  __syncthreads();
  unsigned x[4];
  LDMATRIX_X4(x, &tile[lane & BUG(15, 7)][8 * (lane / 16)]);  // <- bug
  o[i] = __half2float(__ushort_as_half(x[0] & 0xffff)) + (x[3] >> 16);
}
KERNEL out_of_bounds__accumulator_array(ARGS) {
  INDICES;
  float acc[4] = {0, 0, 0, 0};
  for (int k = 0; k < n / 16; ++k) {
    acc[(k + d) % BUG(5, 4)] += a[k * 16 + d];  // <- bug
  }
  o[i] = acc[n & 3] + acc[1] + acc[2];
}
KERNEL out_of_bounds__prefetch_one_tile_too_many(ARGS) {
  INDICES;
  __shared__ __align__(16) float tile[2][64];
  const int tiles = n / 64;
  float sum = 0;
  if (tid < 16) COPY_16(&tile[0][tid * 4], a + tid * 4);
  COMMIT;
  for (int t = 0; t < tiles; ++t) {
    if (tid < 16 && t + 1 BUG(<=, <) tiles) {
      COPY_16(&tile[(t + 1) & 1][tid * 4], a + (t + 1) * 64 + tid * 4);  // <- bug
    }
    COMMIT;
    WAIT(1);
    __syncthreads();
    sum += tile[t & 1][63 - tid];
    __syncthreads();
  }
  o[i] = sum;
}
KERNEL out_of_bounds__third_stage_of_two(ARGS) {
  INDICES;
  __shared__ float tile[2][64];
  float sum = 0;
  for (int t = 0; t < n / 64; ++t) {
    COPY_4(&tile[t % BUG(3, 2)][tid], a + t * 64 + tid);  // <- bug
    COMMIT;
    WAIT(0);
    __syncthreads();
    sum += tile[t % BUG(3, 2)][63 - tid];
    __syncthreads();
  }
  o[i] = sum;
}
KERNEL out_of_bounds__vector_store_tail(ARGS) {  // 64 vectors, 65 threads store one
  const int v = blockIdx.x * 64 + threadIdx.x;
  if (v < BUG(65, 64)) {
    const float x = a[v];
    reinterpret_cast<float4*>(o)[v] = make_float4(x, x, x, x);  // <- bug
  }
}
KERNEL out_of_bounds__transpose_stride(ARGS) {
  INDICES;
  __shared__ float tile[256];
  for (int e = tid; e < 256; e += 64) {
    tile[(e % 16) * BUG(17, 16) + e / 16] = a[e];  // <- bug
  }
  __syncthreads();
  o[i] = tile[i];
}
KERNEL out_of_bounds__histogram_last_bin(ARGS) {  // the greatest value falls into bin 8 of 8
  INDICES;
  __shared__ unsigned bins[8];
  if (tid < 8) bins[tid] = 0;
  __syncthreads();
  const int bin = static_cast<int>((a[i] + 6) * 8 / 12);
  atomicAdd(&bins[BUG(bin, min(bin, 7))], 1u);  // <- bug
  __syncthreads();
  o[i] = bins[tid & 7];
}
KERNEL out_of_bounds__wmma_store_stride(ARGS) {
  using namespace nvcuda;
  INDICES;
  __shared__ __align__(32) float c[256];
  if (warp == 0) {
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum;
    wmma::fill_fragment(sum, a[blockIdx.x]);
    wmma::store_matrix_sync(c, sum, BUG(20, 16), wmma::mem_row_major);  // <- bug
  }
  __syncthreads();
  o[i] = c[tid * 4];
}
KERNEL out_of_bounds__append_behind_the_ring(ARGS) {  // a ring of 12 slots without its modulo
  INDICES;
  float* ring = reinterpret_cast<float*>(w + 64);
  const unsigned slot = 9 + blockIdx.x + w[0];
  if (tid < 16) {
    ring[BUG(slot, slot % 12) * 16 + tid] = a[i];  // <- bug
  }
  o[i] = a[i];
}

KERNEL misaligned__float4_of_odd_rows(ARGS) {  // rows of 17 floats
  INDICES;
  const float4 x = *reinterpret_cast<const float4*>(a + (q % 12) * BUG(17, 20));  // <- bug
  o[i] = x.x + x.y + x.z + x.w;
}
KERNEL misaligned__vector_of_padded_shared_rows(ARGS) {
  INDICES;
  __shared__ __align__(16) float tile[4][BUG(17, 20)];
  tile[r][d] = a[i];
  __syncthreads();
  const float4 x = *reinterpret_cast<const float4*>(&tile[r][4 * (d & 3)]);  // <- bug
  o[i] = x.x + x.y + x.z + x.w;
}
KERNEL misaligned__half2_of_odd_rows(ARGS) {
  INDICES;
  __shared__ __align__(16) __half tile[4][BUG(17, 18)];
  tile[r][d] = __float2half(a[i]);
  __syncthreads();
  const __half2 x = *reinterpret_cast<const __half2*>(&tile[r][d & 14]);  // <- bug
  o[i] = __low2float(x) + __high2float(x);
}
KERNEL misaligned__local_bytes(ARGS) {
  INDICES;
  __align__(8) char bytes[64];
  for (int k = 0; k < n / 4; ++k) bytes[k] = k;
  const int at = 4 * (tid & 7) + BUG(2, 0);
  o[i] = *reinterpret_cast<volatile float*>(bytes + at) + a[i];  // <- bug
}
KERNEL misaligned__atomic_between_words(ARGS) {
  INDICES;
  char* counters = reinterpret_cast<char*>(w);
  if (tid == 0) atomicAdd(reinterpret_cast<unsigned*>(counters + 4 * blockIdx.x + BUG(2, 0)), 1u);  // <- bug
  o[i] = a[i];
}
KERNEL misaligned__ldmatrix_rows(ARGS) {  // rows of 40 bytes
  INDICES;
  __shared__ __align__(16) __half tile[16][BUG(20, 24)];
  for (int e = tid; e < 256; e += 64) tile[e / 16][e % 16] = __float2half(a[e]);
  __syncthreads();
  unsigned x[4];
  LDMATRIX_X4(x, &tile[lane & 15][8 * (lane / 16)]);  // <- bug
  o[i] = __half2float(__ushort_as_half(x[0] & 0xffff)) + (x[3] >> 16);
}
KERNEL misaligned__cp_async_of_odd_rows(ARGS) {
  INDICES;
  __shared__ __align__(16) float tile[64];
  if (tid < 8) {
    COPY_16(&tile[tid * 8], a + tid * BUG(18, 20));  // <- bug
    COPY_16(&tile[tid * 8 + 4], a + tid * 20 + 4);
  }
  COMMIT;
  WAIT(0);
  __syncthreads();
  o[i] = tile[tid];
}
KERNEL misaligned__carved_dynamic_shared(ARGS) {  // launch: shared 1024
  INDICES;  // floats behind 65 halves
  extern __shared__ __align__(16) char raw[];
  __half* scores = reinterpret_cast<__half*>(raw);
  float* sums = reinterpret_cast<float*>(raw + 2 * BUG(65, 66));
  scores[tid] = __float2half(a[i]);
  sums[tid] = a[i];  // <- bug
  __syncthreads();
  o[i] = sums[63 - tid] + __half2float(scores[63 - tid]);
}
KERNEL misaligned__double_in_word_workspace(ARGS) {
  INDICES;
  if (tid < 16) {
    double* sums = reinterpret_cast<double*>(w + 64 + BUG(1, 0));
    sums[blockIdx.x * 16 + tid] = a[i];  // <- bug
  }
  o[i] = a[i];
}

KERNEL read_only_write__rotation_in_place(ARGS) {  // rotary embedding that overwrites the queries
  INDICES;
  float* to = BUG(const_cast<float*>(a), o);
  if ((d & 1) == 0) {
    const float x = a[i], y = a[i + 1], c = cosf(q), s = sinf(q);
    to[i] = x * c - y * s;  // <- bug
    to[i + 1] = x * s + y * c;
  }
}
KERNEL read_only_write__vector_append(ARGS) {
  INDICES;
  float* cache = BUG(const_cast<float*>(a), o);
  if (tid < 16) {
    const float4 x = reinterpret_cast<const float4*>(a)[blockIdx.x * 16 + tid];
    reinterpret_cast<float4*>(cache)[blockIdx.x * 16 + tid] = make_float4(x.w, x.z, x.y, x.x);  // <- bug
  }
}
KERNEL read_only_write__atomic_accumulate(ARGS) {
  INDICES;
  float* sums = BUG(const_cast<float*>(a), reinterpret_cast<float*>(w));
  atomicAdd(&sums[tid & 15], 1.0f);  // <- bug
  o[i] = 1;
}

KERNEL uninitialised__score_tail(ARGS) {  // softmax over a padded tile whose padding nobody wrote
  INDICES;
  __shared__ float score[4][20];
  score[r][d] = a[i];
  __syncthreads();
  float top = -1e30f, sum = 0;
  for (int k = 0; k < BUG(20, 16); ++k) {
    top = fmaxf(top, score[r][k]);  // <- bug
  }
  for (int k = 0; k < 16; ++k) sum += expf(score[r][k] - top);
  o[i] = expf(score[r][d] - top) / sum;
}
KERNEL uninitialised__accumulator_in_local_memory(ARGS) {
  INDICES;
  float acc[8];
  for (int k = BUG(1, 0); k < n / 32; ++k) acc[k] = 0;
  for (int k = 0; k < n / 16; ++k) {
    acc[(k + d) & 7] += a[k * 16 + d];  // <- bug
  }
  o[i] = acc[d & 7];
}
KERNEL uninitialised__empty_split(ARGS) {  // the combine step reads the part of a split that had no keys
  INDICES;
  __shared__ unsigned ticket;
  float* part = reinterpret_cast<float*>(w + 64);
  const int keys = blockIdx.x < 3 ? 4 : BUG(0, 4);
  if (keys > 0 && tid < 16) {
    float sum = 0;
    for (int k = 0; k < keys; ++k) sum += a[blockIdx.x * 64 + k * 16 + tid];
    part[blockIdx.x * 16 + tid] = sum;
  }
  __threadfence();
  __syncthreads();
  if (tid == 0) ticket = atomicAdd(w, 1u);
  __syncthreads();
  if (ticket != 3) return;
  __threadfence();
  float total = 0;
  for (int split = 0; split < 4; ++split) {
    total += __ldcg(&part[split * 16 + d]);  // <- bug
  }
  for (int row = r; row < 16; row += 4) o[row * 16 + d] = total;
}
KERNEL uninitialised__running_maximum(ARGS) {  // the first tile compares with a maximum that nobody set
  INDICES;
  __shared__ float row_max[4];
  BUG(, if (d == 0) row_max[r] = -1e30f);
  __syncthreads();
  for (int tile = 0; tile < n / 64; ++tile) {
    float top = a[tile * 64 + tid];
    for (int step = 8; step > 0; step /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, step));
    top = fmaxf(top, row_max[r]);  // <- bug
    __syncthreads();
    if (d == 0) row_max[r] = top;
    __syncthreads();
  }
  o[i] = row_max[r];
}
KERNEL uninitialised__pipeline_without_prologue(ARGS) {
  INDICES;
  __shared__ float tile[2][64];
  BUG(, tile[0][tid] = a[tid]);
  __syncthreads();
  float sum = 0;
  for (int t = 0; t < n / 64; ++t) {
    sum += tile[t & 1][63 - tid];  // <- bug
    if (t + 1 < n / 64) tile[(t + 1) & 1][tid] = a[(t + 1) * 64 + tid];
    __syncthreads();
  }
  o[i] = sum;
}
KERNEL uninitialised__tail_rows_not_zero_filled(ARGS) {  // 3 of 4 keys exist
  INDICES;
  __shared__ float k_tile[4][16];
  if (r < 3) COPY_4(&k_tile[r][d], a + i);
  BUG(, else k_tile[r][d] = 0);
  COMMIT;
  WAIT(0);
  __syncthreads();
  float acc = 0;
  for (int j = 0; j < 4; ++j) acc += k_tile[j][d];  // <- bug
  o[i] = acc;
}
KERNEL uninitialised__fourth_byte(ARGS) {  // three of four packed 8-bit values
  INDICES;
  __shared__ __align__(4) unsigned char packed[64][4];
  for (int k = 0; k < BUG(3, 4); ++k) *const_cast<volatile unsigned char*>(&packed[tid][k]) = static_cast<int>(a[i]) + k;
  __syncthreads();
  o[i] = *reinterpret_cast<volatile unsigned*>(&packed[tid][0]);  // <- bug
}
KERNEL uninitialised__ldmatrix_tail(ARGS) {  // 12 of 16 rows
  INDICES;
  __shared__ __align__(16) __half tile[16][16];
  for (int e = tid; e < BUG(12, 16) * 16; e += 64) tile[e / 16][e % 16] = __float2half(a[e]);
  __syncthreads();
  unsigned x[4];
  LDMATRIX_X4(x, &tile[lane & 15][8 * (lane / 16)]);  // <- bug
  o[i] = __half2float(__ushort_as_half(x[0] & 0xffff)) + (x[3] >> 16);
}
KERNEL uninitialised__wmma_tail(ARGS) {
  using namespace nvcuda;
  INDICES;
  __shared__ __align__(32) __half left[256], right[256];
  __shared__ __align__(32) float c[256];
  for (int e = tid; e < 256; e += 64) left[e] = __float2half(1);
  for (int e = tid; e < BUG(192, 256); e += 64) right[e] = __float2half(a[e]);
  __syncthreads();
  if (warp == 0) {
    wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> x;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::row_major> y;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum;
    wmma::fill_fragment(sum, 0.0f);
    wmma::load_matrix_sync(x, left, 16);
    wmma::load_matrix_sync(y, right, 16);  // <- bug
    wmma::mma_sync(sum, x, y, sum);
    wmma::store_matrix_sync(c, sum, 16, wmma::mem_row_major);
  }
  __syncthreads();
  o[i] = c[tid];
}
KERNEL uninitialised__split_k_into_output(ARGS) {  // adds to an output that nobody zeroed
  INDICES;
  BUG(, o[i] = 0);
  atomicAdd(&o[i], a[i]);  // <- bug
}
KERNEL uninitialised__workspace_sum(ARGS) {
  INDICES;
  float* sums = reinterpret_cast<float*>(w + 64) + blockIdx.x * 16;
  if (tid < 16) {
    BUG(, sums[tid] = 0);
    for (int k = 0; k < 4; ++k) {
      sums[tid] += a[blockIdx.x * 64 + k * 16 + tid];  // <- bug
    }
  }
  __syncthreads();
  o[i] = sums[d];
}
KERNEL uninitialised__local_half_of_a_vector(ARGS) {
  INDICES;
  __align__(8) unsigned short parts[8];
  for (int k = 0; k < n / 32 - BUG(1, 0); ++k) parts[k] = k + tid;
  const volatile unsigned* pairs = reinterpret_cast<const volatile unsigned*>(parts);
  o[i] = pairs[(n >> 8) + 1] + pairs[(n >> 8) + 2];  // <- bug
}

KERNEL missing_output__last_row(ARGS) {
  INDICES;
  if (q < BUG(15, 16)) o[i] = 2 * a[i];
}
KERNEL missing_output__vector_tail(ARGS) {  // 4 vectors in a row, the loop stops one early
  INDICES;
  if (d == 0) {
    for (int c = 0; c + 4 < BUG(16, 17); c += 4) {
      reinterpret_cast<float4*>(o + q * 16)[c / 4] = reinterpret_cast<const float4*>(a + q * 16)[c / 4];
    }
  }
}
KERNEL missing_output__row_without_keys(ARGS) {  // strictly causal: row 0 sees no key
  INDICES;
  float acc = 0;
  for (int k = 0; k < q; ++k) acc += a[k * 16 + d];
  if (BUG(q > 0, true)) o[i] = acc;
}
KERNEL missing_output__empty_sequence(ARGS) {  // a sequence of no keys returns before it writes zeros
  INDICES;
  const int length = blockIdx.x == 2 ? 0 : 4;
  if (length == 0) {
    BUG(, o[i] = 0);
    return;
  }
  o[i] = a[i] * length;
}
KERNEL missing_output__grid_stride(ARGS) {  // takes a step for twice the threads
  for (int e = blockIdx.x * 32 + threadIdx.x % 32; e < n; e += gridDim.x * 32 * BUG(2, 1)) {
    if (threadIdx.x < 32) o[e] = a[e];
  }
}
KERNEL missing_output__odd_channels(ARGS) {  // the epilogue stores the first of each pair
  INDICES;
  if ((d & 1) == 0) {
    o[i] = a[i];
    BUG(, o[i + 1] = a[i + 1]);
  }
}
