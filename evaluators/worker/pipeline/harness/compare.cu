// SPDX-License-Identifier: Apache-2.0
// One block per row: a candidate's output row against the float64 reference row.

struct RowResult {
  double row;        // rms(e) / rms(g); infinite if g is all zero and e is not
  double element;    // worst |e| / (absolute + ulp |g| + rms_factor rms(g)); above 1 fails
  double mismatch;   // elements that are not finite where g is, or differ where g is not
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

// Row r of `gold` [rows, columns] against row rows[r] of `output` [.., columns].
extern "C" __global__ void __launch_bounds__(128)
harness_compare(const void* output, int dtype, const double* gold, const i64* rows, i64 columns, double ulp,
                double rms_factor, double absolute, RowResult* results) {
  __shared__ double scratch[128];
  const double* g_row = gold + (i64)blockIdx.x * columns;
  const i64 base = rows[blockIdx.x] * columns;
  double e2 = 0, g2 = 0, mismatch = 0;
  for (i64 c = threadIdx.x; c < columns; c += blockDim.x) {
    const double g = g_row[c], o = load(output, dtype, base + c);
    if (!isfinite(g) || !isfinite(o)) {
      mismatch += (o == g || (isnan(g) && isnan(o))) ? 0.0 : 1.0;
    } else {
      e2 += (o - g) * (o - g);
      g2 += g * g;
    }
  }
  e2 = block_sum(e2, scratch);
  g2 = block_sum(g2, scratch);
  mismatch = block_sum(mismatch, scratch);
  const double rms = sqrt(g2 / (double)columns);
  double worst = 0;
  for (i64 c = threadIdx.x; c < columns; c += blockDim.x) {
    const double g = g_row[c], o = load(output, dtype, base + c);
    if (!isfinite(g) || !isfinite(o)) continue;
    const double e = fabs(o - g), allowed = absolute + ulp * fabs(g) + rms_factor * rms;
    if (e > 0) worst = fmax(worst, allowed > 0 ? e / allowed : 1e30);
  }
  worst = block_max(worst, scratch);
  if (threadIdx.x == 0) {
    RowResult& result = results[blockIdx.x];
    result.row = g2 > 0 ? sqrt(e2 / g2) : (e2 > 0 ? 1e30 : 0.0);
    result.element = worst;
    result.mismatch = mismatch;
  }
}
