// SPDX-License-Identifier: Apache-2.0
// Planted races within a block: barriers that are missing, in the wrong place or too weak (planted.cuh).
#include "planted.cuh"

KERNEL race__key_tile_overwritten(ARGS) {  // no barrier at the end of the loop
  INDICES;
  __shared__ float k_tile[4][16];
  float acc = 0;
  for (int tile = 0; tile < n / 64; ++tile) {
    k_tile[r][d] = a[tile * 64 + tid];  // <- bug
    __syncthreads();
    for (int j = 0; j < 4; ++j) acc += a[i] * k_tile[j][d];  // <- bug
    BUG(, __syncthreads());
  }
  o[i] = acc;
}
KERNEL race__barrier_missing_in_first_iteration(ARGS) {
  INDICES;
  __shared__ float tile[64];
  float sum = 0;
  for (int t = 0; t < n / 64; ++t) {
    tile[tid] = a[t * 64 + tid];  // <- bug
    if (BUG(t > 0, true)) __syncthreads();
    sum += tile[63 - tid];  // <- bug
    __syncthreads();
  }
  o[i] = sum;
}
KERNEL race__barrier_missing_in_last_iteration(ARGS) {
  INDICES;
  __shared__ float tile[64];
  float sum = 0;
  const int tiles = n / 64;
  for (int t = 0; t < tiles; ++t) {
    tile[tid] = a[t * 64 + tid];  // <- bug
    if (BUG(t + 1 < tiles, true)) __syncthreads();
    sum += tile[63 - tid];  // <- bug
    __syncthreads();
  }
  o[i] = sum;
}
KERNEL race__prefetch_into_the_current_buffer(ARGS) {
  INDICES;
  __shared__ float tile[2][64];
  float sum = 0;
  tile[0][tid] = a[tid];
  __syncthreads();
  for (int t = 0; t < n / 64; ++t) {
    if (t + 1 < n / 64) {
      tile[BUG(t, t + 1) & 1][tid] = a[(t + 1) * 64 + tid];  // <- bug
    }
    BUG(tile[(t + 1) & 1][tid] = 0, );
    sum += tile[t & 1][63 - tid];  // <- bug
    __syncthreads();
  }
  o[i] = sum;
}
KERNEL race__double_buffer_without_barrier(ARGS) {  // two buffers do not replace the barrier
  INDICES;
  __shared__ float tile[2][64];
  float sum = 0;
  tile[0][tid] = a[tid];
  __syncthreads();
  for (int t = 0; t < n / 64; ++t) {
    if (t + 1 < n / 64) {
      tile[(t + 1) & 1][tid] = a[(t + 1) * 64 + tid];  // <- bug
    }
    sum += tile[t & 1][63 - tid];  // <- bug
    BUG(, __syncthreads());
  }
  o[i] = sum;
}
KERNEL race__reduction_scratch_used_twice(ARGS) {  // maximum, then sum, through the same two words
  INDICES;
  __shared__ float part[2];
  float x = a[i], top = x;
  for (int step = 16; step > 0; step /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, step));
  if (lane == 0) part[warp] = top;
  __syncthreads();
  top = fmaxf(part[0], part[1]);  // <- bug
  BUG(, __syncthreads());
  float sum = x = expf(x - top);
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  if (lane == 0) {
    part[warp] = sum;  // <- bug
  }
  __syncthreads();
  o[i] = x / (part[0] + part[1]);
}
KERNEL race__mean_without_barrier(ARGS) {  // one thread leaves the mean for all
  INDICES;
  __shared__ float part[2], mean;
  float sum = a[i];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  if (lane == 0) part[warp] = sum;
  __syncthreads();
  if (tid == 0) {
    mean = (part[0] + part[1]) / 64;  // <- bug
  }
  BUG(, __syncthreads());
  o[i] = a[i] - mean;  // <- bug
}
KERNEL race__transpose(ARGS) {
  INDICES;
  __shared__ float tile[16][17];
  for (int e = tid; e < 256; e += 64) tile[e / 16][e % 16] = a[e];  // <- bug
  BUG(, __syncthreads());
  o[i] = tile[d][q];  // <- bug
}
KERNEL race__barrier_before_the_store(ARGS) {
  INDICES;
  __shared__ float tile[64];
  BUG(__syncthreads(), );
  tile[tid] = a[i];  // <- bug
  BUG(, __syncthreads());
  o[i] = tile[63 - tid];  // <- bug
}
KERNEL race__tree_step_without_barrier(ARGS) {
  INDICES;
  __shared__ float sums[64];
  sums[tid] = a[i];
  __syncthreads();
  for (int step = 1; step < 64; step *= 2) {
    if (tid % (2 * step) == 0) {
      sums[tid] += sums[tid + step];  // <- bug
    }
    if (BUG(step < 16, true)) __syncthreads();
  }
  o[i] = sums[0];  // <- bug
}
KERNEL race__scan_in_one_buffer(ARGS) {
  INDICES;
  __shared__ float sums[64];
  sums[tid] = a[i];
  __syncthreads();
  for (int step = 1; step < 64; step *= 2) {
    const float before = tid >= step ? sums[tid - step] : 0;  // <- bug
    BUG(, __syncthreads());
    sums[tid] += before;  // <- bug
    __syncthreads();
  }
  o[i] = sums[tid];
}
KERNEL race__probabilities_read_by_ldmatrix(ARGS) {
  INDICES;
  __shared__ __align__(16) __half p[16][16];
  for (int e = tid; e < 256; e += 64) p[e / 16][e % 16] = __float2half(a[e]);  // <- bug
  BUG(__syncwarp(), __syncthreads());
  unsigned x[4];
  LDMATRIX_X4(x, &p[lane & 15][8 * (lane / 16)]);  // <- bug
  o[i] = __half2float(__ushort_as_half(x[0] & 0xffff)) + (x[3] >> 16);
}
KERNEL copy_not_waited__stage_refilled_too_early(ARGS) {
  INDICES;
  __shared__ float tile[2][64];
  float sum = 0;
  COPY_4(&tile[0][tid], a + tid);
  COMMIT;
  for (int t = 0; t < n / 64; ++t) {
    if (t + 1 < n / 64) {
      COPY_4(&tile[(t + 1) & 1][tid], a + (t + 1) * 64 + tid);  // <- bug
    }
    COMMIT;
    WAIT(1);
    __syncthreads();
    sum += tile[t & 1][63 - tid];  // <- bug
    BUG(, __syncthreads());
  }
  o[i] = sum;
}
KERNEL race__vector_and_halo_overlap(ARGS) {  // every thread writes the halo, not only the last
  INDICES;
  __shared__ __align__(16) float row[260];
  const float x = a[i];
  *reinterpret_cast<float4*>(&row[4 * tid]) = make_float4(x, x, x, x);  // <- bug
  if (BUG(true, tid == 63)) {
    row[4 * tid + 4] = x;  // <- bug
  }
  __syncthreads();
  o[i] = row[4 * tid + 1] + row[4 * (63 - tid) + 3];
}
KERNEL race__next_item_written_too_early(ARGS) {  // a persistent block asks for work while a warp still reads its item
  INDICES;
  __shared__ unsigned item;
  for (;;) {
    if (tid == 0) {
      item = atomicAdd(w, 1u);  // <- bug
    }
    __syncthreads();
    const unsigned mine = item;  // <- bug
    if (mine >= 4) break;
    o[mine * 64 + tid] = 2 * a[mine * 64 + tid];
    BUG(, __syncthreads());
  }
}
KERNEL race__swizzle_collision(ARGS) {  // rows of 8 for 16 channels
  INDICES;
  __shared__ float tile[64];
  tile[r * BUG(8, 16) + (d ^ r)] = a[i];  // <- bug
  __syncthreads();
  o[i] = tile[r * BUG(8, 16) + (d ^ r)];
}
KERNEL race__counter_read_without_barrier(ARGS) {
  INDICES;
  __shared__ unsigned count;
  if (tid == 0) count = 0;
  __syncthreads();
  if (a[i] > 0) {
    atomicAdd(&count, 1u);  // <- bug
  }
  BUG(, __syncthreads());
  o[i] = count;  // <- bug
}
KERNEL race__histogram_zeroed_too_late(ARGS) {
  INDICES;
  __shared__ unsigned bins[64];
  bins[63 - tid] = 0;  // <- bug
  BUG(, __syncthreads());
  atomicAdd(&bins[static_cast<int>(a[i]) + 6 + (tid & 32)], 1u);  // <- bug
  __syncthreads();
  o[i] = bins[tid];
}
KERNEL race__maximum_without_atomic(ARGS) {
  INDICES;
  __shared__ int top;
  if (tid == 0) top = -100;
  __syncthreads();
  const int x = static_cast<int>(a[i]);
#ifdef MENDED
  atomicMax(&top, x);
#else
  if (x > top) {  // <- bug
    top = x;      // <- bug
  }
#endif
  __syncthreads();
  o[i] = top;
}
KERNEL race__two_warps_write_a_row(ARGS) {  // 2 warps of 32 lanes for rows of 48
  INDICES;
  __shared__ float row[64];
  row[lane + warp * BUG(16, 32)] = a[i];  // <- bug
  __syncthreads();
  o[i] = row[(lane + warp * BUG(16, 32)) & 63];
}
KERNEL race__named_barrier_of_the_wrong_pair(ARGS) {  // launch: block 128, grid 2
  const int tid = threadIdx.x, i = blockIdx.x * 128 + tid;  // each pair of warps waits for itself
  __shared__ float tile[128];
  tile[tid] = a[i];  // <- bug
  BUG(BARRIER(1 + tid / 64, 64), __syncthreads());
  o[i] = tile[127 - tid];  // <- bug
}
KERNEL race__named_barrier_of_one_warp(ARGS) {  // 32 threads are expected where 64 share the tile
  INDICES;
  __shared__ float tile[64];
  tile[tid] = a[i];  // <- bug
  BARRIER(1, BUG(32, 64));
  o[i] = tile[63 - tid];  // <- bug
}
KERNEL race__buffer_given_back_before_it_is_read(ARGS) {  // producer and consumer warp
  INDICES;
  __shared__ float tile[32];
  float sum = 0;
  if (warp == 0) {
    for (int t = 0; t < 8; ++t) {
      if (t > 0) BARRIER(2, 64);
      tile[lane] = a[t * 32 + lane];  // <- bug
      ARRIVE(1, 64);
    }
    o[i] = 1;
  } else {
    for (int t = 0; t < 8; ++t) {
      BARRIER(1, 64);
      BUG(if (t < 7) ARRIVE(2, 64), );
      sum += tile[31 - lane];  // <- bug
      BUG(, if (t < 7) ARRIVE(2, 64));
    }
    o[i] = sum;
  }
}
KERNEL race__consumer_does_not_wait(ARGS) {  // the last tile is read without its barrier
  INDICES;
  __shared__ float tile[2][32];
  float sum = 0;
  if (warp == 0) {
    for (int t = 0; t < 2; ++t) {
      tile[t][lane] = a[t * 32 + lane];  // <- bug
      ARRIVE(1 + t, 64);
    }
    o[i] = 1;
  } else {
    for (int t = 0; t < 2; ++t) {
      if (BUG(t == 0, true)) BARRIER(1 + t, 64);
      sum += tile[t][31 - lane];  // <- bug
    }
    o[i] = sum;
  }
}
KERNEL race__warp_synchronous_reduction(ARGS) {  // lanes of a warp are not in step: __syncwarp is missing
  INDICES;
  __shared__ volatile float sums[64];
  sums[tid] = a[i];
  __syncthreads();
  if (tid < 32) {
    float x = sums[tid] + sums[tid + 32];
    BUG(, __syncwarp());
    sums[tid] = x;  // <- bug
    for (int step = 16; step > 0; step /= 2) {
      BUG(, __syncwarp());
      x += sums[(tid + step) & 31];  // <- bug
      BUG(, __syncwarp());
      sums[tid] = x;  // <- bug
    }
  }
  __syncthreads();
  o[i] = sums[0];
}
KERNEL race__warp_sums_without_syncwarp(ARGS) {  // the same through plain memory
  INDICES;
  __shared__ float sums[64];
  sums[tid] = a[i];  // <- bug
  __syncthreads();
  if (tid < 32) {
    float x = sums[tid] + sums[tid + 32];
    for (int step = 16; step > 0; step /= 2) {
      BUG(, __syncwarp());
      sums[tid] = x;  // <- bug
      BUG(, __syncwarp());
      x += sums[(tid + step) & 31];  // <- bug
    }
    BUG(, __syncwarp());
    sums[tid] = x;  // <- bug
  }
  __syncthreads();
  o[i] = sums[0];
}
KERNEL race__warp_tile_without_syncwarp(ARGS) {  // each warp transposes its own tile
  INDICES;
  __shared__ float tile[2][32];
  tile[warp][lane] = a[i];  // <- bug
  BUG(, __syncwarp());
  o[i] = tile[warp][31 - lane];  // <- bug
}
KERNEL race__warp_lanes_write_one_slot(ARGS) {  // two lanes with different values, one slot
  INDICES;
  __shared__ float tile[2][32];
  tile[warp][BUG(lane / 2, lane)] = a[i];  // <- bug
  __syncthreads();
  o[i] = tile[warp][BUG(lane / 2, lane)];
}
