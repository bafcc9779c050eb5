// SPDX-License-Identifier: Apache-2.0
// Planted bugs of synchronisation: divergent barriers, deadlocks, shuffles, cp.async waits, endless loops (planted.cuh).
#include "planted.cuh"

KERNEL divergent_barrier__causal_trip_count(ARGS) {  // two rows of a warp make a different number of steps
  INDICES;
  __shared__ float tile[4][16];
  float acc = 0;
  for (int k = 0; k < BUG(q + 1, 16); ++k) {
    tile[r][d] = a[k * 16 + d];
    __syncthreads();  // <- bug
    acc += tile[3 - r][d];
    __syncthreads();  // <- bug
  }
  o[i] = acc;
}
KERNEL divergent_barrier__break_of_a_lane(ARGS) {
  INDICES;
  __shared__ float tile[64];
  float acc = 0;
  for (int t = 0; t < n / 64; ++t) {
    tile[tid] = a[t * 64 + tid];
    if (BUG(tile[tid] > 5, false)) break;
    __syncthreads();  // <- bug
    acc += tile[63 - tid];
    __syncthreads();  // <- bug
  }
  __syncthreads();  // <- bug
  o[i] = acc;
}
__device__ float block_sum(float x);
KERNEL divergent_barrier__block_sum_in_a_branch(ARGS) {
  INDICES;
  float sum = a[i];
  if (BUG(d != 15, true)) sum = block_sum(sum);
  __syncthreads();  // <- bug
  o[i] = sum;
}
__device__ __noinline__ float block_sum(float x) {
  __shared__ float part[64];
  part[threadIdx.x] = x;
  __syncthreads();  // <- bug
  float sum = 0;
  for (int k = 0; k < 64; ++k) sum += k % 16 == 15 ? 0 : part[k];
  return sum;
}
KERNEL divergent_barrier__count_of_forty(ARGS) {  // named barriers count whole warps
  INDICES;
  BARRIER(1, BUG(40, 64));  // <- bug
  o[i] = a[i];
}
KERNEL divergent_barrier__two_counts(ARGS) {
  INDICES;
  BARRIER(1, warp == 0 ? BUG(128, 64) : 64);  // <- bug
  o[i] = a[i];
}
KERNEL divergent_barrier__seventeenth_barrier(ARGS) {  // one barrier per stage, 17 stages
  INDICES;
  for (int stage = 0; stage < n / 16 + BUG(1, 0); ++stage) {
    BARRIER(stage, 64);  // <- bug
  }
  o[i] = a[i];
}
KERNEL divergent_barrier__count_in_a_branch(ARGS) {
  INDICES;
  int active = 0;
  if (BUG(a[i] > 0, true)) {
    active = __syncthreads_count(a[i] > 1);  // <- bug
  }
  __syncthreads();  // <- bug
  o[i] = active;
}
KERNEL divergent_barrier__continue_of_the_tail(ARGS) {
  INDICES;
  __shared__ float tile[64];
  float acc = 0;
  for (int t = 0; t < n / 64; ++t) {
    if (BUG(t == 3 && d > 9, false)) continue;
    tile[tid] = a[t * 64 + tid];
    __syncthreads();  // <- bug
    acc += tile[tid ^ 32];
    __syncthreads();  // <- bug
  }
  __syncthreads();  // <- bug
  o[i] = acc;
}

KERNEL deadlock__last_tile_skipped_by_one_warp(ARGS) {
  INDICES;
  float acc = 0;
  for (int t = 0; t < n / 64; ++t) {
    if (BUG(warp == 1 && t == 3, false)) break;
    acc += a[t * 64 + tid];
    BARRIER(1, 64);  // <- bug
  }
  o[i] = acc;
}
KERNEL deadlock__producer_arrives_once_less(ARGS) {
  INDICES;
  __shared__ float tile[4][32];
  float sum = 0;
  if (warp == 0) {
    for (int t = 0; t < 4; ++t) tile[t][lane] = a[t * 32 + lane];
    for (int t = 0; t < BUG(3, 4); ++t) ARRIVE(1 + t, 64);
    o[i] = 1;
  } else {
    for (int t = 0; t < 4; ++t) {
      BARRIER(1 + t, 64);  // <- bug
      sum += tile[t][lane];
    }
    o[i] = sum;
  }
}
KERNEL deadlock__mixed_barriers(ARGS) {  // half of the block waits at 0, half at 1
  INDICES;
  if (warp == 0) {
    BUG(__syncthreads(), BARRIER(1, 64));  // <- bug
  } else {
    BARRIER(1, 64);  // <- bug
  }
  o[i] = a[i];
}
KERNEL deadlock__count_includes_an_exited_warp(ARGS) {
  INDICES;
  o[i] = a[i];
  if (warp == 1) return;
  BARRIER(1, BUG(64, 32));  // <- bug
  o[i] = 2 * a[i];
}
KERNEL deadlock__full_and_empty_exchanged(ARGS) {  // both sides wait first
  INDICES;
  if (warp == 0) {
    BARRIER(BUG(2, 1), 64);  // <- bug
    BARRIER(BUG(1, 2), 64);
  } else {
    BARRIER(1, 64);  // <- bug
    BARRIER(2, 64);
  }
  o[i] = a[i];
}

KERNEL invalid_shuffle__tail_columns(ARGS) {  // a norm over 13 of 16 columns
  INDICES;
  float sum = a[i];
  if (BUG(d < 13, true)) {
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);  // <- bug
  }
  o[i] = sum;
}
KERNEL invalid_shuffle__rows_that_returned(ARGS) {
  INDICES;
  o[i] = a[i];
  if (BUG(q == 15, q > 15)) return;
  o[i] = __shfl_xor_sync(0xffffffffu, a[i], 8);  // <- bug
}
KERNEL invalid_shuffle__lane_outside_its_own_mask(ARGS) {
  INDICES;
  o[i] = __shfl_sync(BUG(0x0000ffffu, 0xffffffffu), a[i], 0);  // <- bug
}
KERNEL invalid_shuffle__syncwarp_of_half_a_warp(ARGS) {
  INDICES;
  __syncwarp(BUG(0x0000ffffu, 0xffffffffu));  // <- bug
  o[i] = a[i];
}
KERNEL invalid_shuffle__partner_in_the_other_half(ARGS) {  // 16 lanes, but the butterfly begins at 16
  INDICES;
  float sum = a[i];
  if (lane < 16) {
    for (int step = BUG(16, 8); step > 0; step /= 2) {
      sum += __shfl_xor_sync(0x0000ffffu, sum, step);  // <- bug
    }
  }
  o[i] = sum;
}
KERNEL invalid_shuffle__trip_count_of_a_lane(ARGS) {  // 40 columns: 8 lanes make a second step
  INDICES;
  float sum = 0;
  for (int c = lane; c < BUG(40, 64); c += 32) {
    sum += __shfl_xor_sync(0xffffffffu, a[c], 1);  // <- bug
  }
  o[i] = sum;
}
KERNEL invalid_shuffle__ballot_in_a_branch(ARGS) {
  INDICES;
  unsigned mask = 0;
  if (BUG(a[i] > 0, true)) {
    mask = __ballot_sync(0xffffffffu, a[i] > 2);  // <- bug
  }
  o[i] = __popc(mask);
}
KERNEL invalid_shuffle__reduction_in_a_branch(ARGS) {
  INDICES;
  unsigned sum = 0;
  if (BUG(d < 8, true)) {
    sum = __reduce_add_sync(0xffffffffu, static_cast<unsigned>(d));  // <- bug
  }
  o[i] = sum;
}
KERNEL invalid_shuffle__match_in_a_branch(ARGS) {
  INDICES;
  unsigned same = 0;
  if (BUG(tid % 3 != 0, true)) {
    same = __match_any_sync(0xffffffffu, d);  // <- bug
  }
  o[i] = __popc(same);
}
KERNEL invalid_shuffle__ldmatrix_in_a_branch(ARGS) {
  INDICES;
  __shared__ __align__(16) __half tile[16][16];
  for (int e = tid; e < 256; e += 64) tile[e / 16][e % 16] = __float2half(a[e]);
  __syncthreads();
  unsigned x[4] = {0, 0, 0, 0};
  if (BUG(lane < 16, true)) {
    LDMATRIX_X4(x, &tile[lane & 15][8 * (lane / 16)]);  // <- bug
  }
  o[i] = __half2float(__ushort_as_half(x[0] & 0xffff)) + (x[3] >> 16);
}
KERNEL invalid_shuffle__mma_in_a_branch(ARGS) {
  INDICES;
  float c[4] = {0, 0, 0, 0};
  const unsigned x = __float_as_uint(a[i]);
  if (BUG(a[i] != 3, true)) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%4,%4,%4}, {%4,%4}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(x));  // <- bug
  }
  o[i] = c[0] + c[3];
}

KERNEL copy_not_waited__last_stage(ARGS) {  // the last iteration commits nothing, so "all but one" is too weak
  INDICES;
  __shared__ float tile[2][64];
  float sum = 0;
  COPY_4(&tile[0][tid], a + tid);
  COMMIT;
  for (int t = 0; t < n / 64; ++t) {
    if (t + 1 < n / 64) {
      COPY_4(&tile[(t + 1) & 1][tid], a + (t + 1) * 64 + tid);
      COMMIT;
    }
    BUG(, else COMMIT);
    WAIT(1);
    __syncthreads();
    sum += tile[t & 1][63 - tid];  // <- bug
    __syncthreads();
  }
  o[i] = sum;
}
KERNEL copy_not_waited__never_committed(ARGS) {
  INDICES;
  __shared__ float tile[64];
  COPY_4(&tile[tid], a + i);
  BUG(, COMMIT);
  WAIT(0);
  __syncthreads();
  o[i] = tile[63 - tid];  // <- bug
}
KERNEL copy_not_waited__barrier_before_the_wait(ARGS) {  // each thread waits for its own copies only
  INDICES;
  __shared__ float tile[64];
  COPY_4(&tile[tid], a + i);
  COMMIT;
  BUG(__syncthreads(), );
  WAIT(0);
  BUG(, __syncthreads());
  o[i] = tile[63 - tid];  // <- bug
}
KERNEL copy_not_waited__one_warp_waits(ARGS) {
  INDICES;
  __shared__ float tile[64];
  COPY_4(&tile[tid], a + i);
  COMMIT;
  if (BUG(warp == 0, true)) WAIT(0);
  __syncthreads();
  o[i] = tile[63 - tid];  // <- bug
}
KERNEL copy_not_waited__ldmatrix(ARGS) {
  INDICES;
  __shared__ __align__(16) __half tile[16][16];
  if (tid < 32) COPY_16(&tile[tid / 2][8 * (tid & 1)], a + tid * 4);
  COMMIT;
  BUG(, WAIT(0));
  __syncthreads();
  unsigned x[4];
  LDMATRIX_X4(x, &tile[lane & 15][8 * (lane / 16)]);  // <- bug
  o[i] = (x[0] & 0xffff) + (x[3] >> 16);
}
KERNEL copy_not_waited__three_stages(ARGS) {  // two stages ahead, waits for all but two
  INDICES;
  __shared__ float tile[3][64];
  float sum = 0;
  for (int t = 0; t < 2; ++t) {
    COPY_4(&tile[t][tid], a + t * 64 + tid);
    COMMIT;
  }
  for (int t = 0; t < n / 64; ++t) {
    BUG(WAIT(2), WAIT(1));
    __syncthreads();
    if (t + 2 < n / 64) COPY_4(&tile[(t + 2) % 3][tid], a + (t + 2) * 64 + tid);
    COMMIT;
    sum += tile[t % 3][63 - tid];  // <- bug
  }
  o[i] = sum;
}

KERNEL budget_exceeded__step_of_zero(ARGS) {
  INDICES;
  o[i] = a[i];
  for (int e = i; e < n; e += n >> BUG(9, 0)) {  // <- bug
    o[i] += 1;                                   // <- bug
  }
}
KERNEL budget_exceeded__binary_search(ARGS) {  // finds the last row below a limit, but its step can be nothing
  INDICES;
  int low = 0, high = 16;
  while (low < high) {                              // <- bug
    const int middle = (low + high + BUG(0, 1)) / 2;  // <- bug
    if (middle * 16 <= i) {                         // <- bug
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  o[i] = low;
}
KERNEL trap__assertion(ARGS) {
  INDICES;
  const int page = static_cast<int>(a[i]);
  if (page < BUG(0, -6)) {
    __trap();  // <- bug
  }
  o[i] = page;
}
