// SPDX-License-Identifier: Apache-2.0
// A copy, y[n] = x[n], in which every value passes through a chain of so many dependent multiply-adds by one and zero.
//
// Technique: none; the length of the chain sets the time, a step being four cycles. 256 threads on each multiprocessor.
// The numbers of steps of the three shapes are apart, so that each can be planted a slow-down of its own.

// tune: STEPS_10US = 3600
// tune: STEPS_100US = 5500
// tune: STEPS_2MS = 14500

extern "C" __global__ void __launch_bounds__(256)
steps(const float* __restrict__ x, float* __restrict__ y, long long count, int length) {
  // What the compiler does not know: that the count is positive.
  const float one = count > 0 ? 1.0f : 2.0f, zero = count > 0 ? 0.0f : 1.0f;
  const long long stride = (long long)gridDim.x * 256;
  for (long long i = (long long)blockIdx.x * 256 + threadIdx.x; i < count; i += stride) {
    float value = x[i];
#pragma unroll 4
    for (int step = 0; step < length; ++step) value = fmaf(value, one, zero);
    y[i] = value;
  }
}

// A copy of four values at a time, as fast as memory is.
extern "C" __global__ void __launch_bounds__(256)
stream(const float4* __restrict__ x, float4* __restrict__ y, long long count) {
  const long long i = (long long)blockIdx.x * 256 + threadIdx.x;
  if (i < count) y[i] = x[i];
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (p.N >= 100000000 && p.N % 4 == 0) {
    plan.launch("stream").grid(kl::cdiv(p.N / 4, 256)).block(256).arg(p.x).arg(p.y).arg((long long)p.N / 4);
    return;
  }
  const int length = p.N < 100000 ? STEPS_10US : p.N < 1000000 ? STEPS_100US : STEPS_2MS;
  const int blocks = (int)kl::min(kl::cdiv(p.N, 256), p.device.sms);
  plan.launch("steps").grid(blocks).block(256).arg(p.x).arg(p.y).arg((long long)p.N).arg(length);
}
