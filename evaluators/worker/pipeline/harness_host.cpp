// SPDX-License-Identifier: Apache-2.0
// elements.cu, fill.cu and compare.cu as C++: a block has one thread, which walks everything that its threads would.
#include "evaluators/worker/pipeline/harness_host.h"

#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/core/error.h"
#include "engine/core/task.h"
#include "evaluators/worker/pipeline/compare.h"
#include "evaluators/worker/pipeline/fill.h"
#include "evaluators/worker/vgpu/fp8.h"

// Fused multiply-adds and halves are single instructions, as the virtual GPU needs them too (vgpu/lanes.h).
#pragma GCC target("avx,avx2,fma,f16c")
// The kernels are written as CUDA code is: C casts, mixed signs.
#pragma GCC diagnostic ignored "-Wold-style-cast"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wfloat-conversion"
#pragma GCC diagnostic ignored "-Wdouble-promotion"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wcast-align"
#pragma GCC diagnostic ignored "-Wfloat-equal"
#pragma GCC diagnostic ignored "-Wmissing-declarations"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wuseless-cast"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wswitch-enum"
#pragma GCC diagnostic ignored "-Wparentheses"

#define __device__
#define __global__
#define __shared__
#define __forceinline__ inline
#define __launch_bounds__(...)

namespace kernelites::worker {
namespace host_harness {
namespace {

using std::isfinite;
using std::isnan;
using std::max;
using std::min;

struct Index {
  unsigned int x = 0;
};
constexpr Index threadIdx{0}, blockDim{1}, gridDim{1};
/// The block of a comparison that this thread is at; fills have one block.
thread_local Index blockIdx{0};

// What CUDA has built in, with CUDA's roundings.
inline void __syncthreads() {}
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline unsigned int __float_as_uint(float value) { return std::bit_cast<unsigned int>(value); }
inline float __uint_as_float(unsigned int bits) { return std::bit_cast<float>(bits); }
inline float __int_as_float(int bits) { return std::bit_cast<float>(bits); }
inline long long __double_as_longlong(double value) { return std::bit_cast<long long>(value); }
inline double __longlong_as_double(long long bits) { return std::bit_cast<double>(bits); }
inline int __float2int_rn(float value) {  // saturates; NaN is 0
  if (value != value) return 0;
  const double whole = std::nearbyint(static_cast<double>(value));
  return static_cast<int>(std::clamp(whole, -0x1p31, 0x1p31 - 1));
}
inline unsigned int atomicOr(unsigned int* word, unsigned int bits) {
  const unsigned int old = *word;
  *word |= bits;
  return old;
}

// Twins of harness/device_only.cu.
inline unsigned short to_f16(float value) {
  return value != value ? 0x7FFF : _cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT);
}
inline float of_f16(unsigned short half) { return _cvtsh_ss(half); }
inline unsigned char to_e4m3(float value) { return vgpu::fp8_from_float<4>(value); }
inline unsigned char to_e5m2(float value) { return vgpu::fp8_from_float<5>(value); }
inline float of_e4m3(unsigned char code) { return vgpu::fp8_to_float<4>(code); }
inline float of_e5m2(unsigned char code) { return vgpu::fp8_to_float<5>(code); }
constexpr int k_lanes = 1;
inline double sum_of_lanes(double sum) { return sum; }

struct RowResult;  // the kernels' own, not the mirror that compare.h has
struct WorstResult;

// In this order:
// clang-format off
#include "evaluators/worker/pipeline/harness/elements.cu"
#include "evaluators/worker/pipeline/harness/fill.cu"
#include "evaluators/worker/pipeline/harness/compare.cu"
// clang-format on

static_assert(sizeof(FillOrder) == sizeof(worker::FillOrder));
static_assert(sizeof(CompareOrder) == sizeof(worker::CompareOrder));
static_assert(sizeof(RowResult) == sizeof(worker::RowResult));
static_assert(sizeof(WorstResult) == sizeof(worker::WorstResult));

template <typename T>
T argument(const BoundLaunch& launch, std::size_t index) {
  T value;
  const std::vector<std::byte>& bytes = launch.arguments.at(index).bytes;
  if (bytes.size() != sizeof value) throw Error("a harness kernel's argument has another size");
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

/// The host's pointer to `count` values at a device address.
template <typename T>
T* values_at(Device& device, const void* address, i64 count, Access access, i64 value_bytes = sizeof(T)) {
  return reinterpret_cast<T*>(
      device.host_memory(reinterpret_cast<u64>(address), count * value_bytes, access));
}

i64 bytes_of(int dtype) { return static_cast<i64>(dtype_bytes(static_cast<kernelites::Dtype>(dtype))); }

void* elements_at(Device& device, const void* address, int dtype, i64 count, Access access) {
  return values_at<std::byte>(device, address, count, access, bytes_of(dtype));
}

const LeadingEntry* map_at(Device& device, const LeadingEntry* address, i64 count, i64 leading) {
  if (!address) return nullptr;
  return values_at<const LeadingEntry>(device, address, (count + leading - 1) / leading, Access::read_only);
}

void fill(Device& device, const BoundLaunch& launch) {
  auto order = argument<FillOrder>(launch, 0);
  order.out = elements_at(device, order.out, order.dtype, order.count, Access::read_write);
  order.map = map_at(device, order.map, order.count, order.leading);
  harness_fill(order);
}

void unit_vectors(Device& device, const BoundLaunch& launch) {
  const int dtype = argument<int>(launch, 1);
  const i64 vectors = argument<i64>(launch, 2), columns = argument<i64>(launch, 3);
  void* out = elements_at(device, argument<void*>(launch, 0), dtype, vectors * columns, Access::read_write);
  harness_unit(out, dtype, vectors, columns, argument<float>(launch, 4));
}

void invalid(Device& device, const BoundLaunch& launch) {
  const i64 count = argument<i64>(launch, 1), leading = argument<i64>(launch, 4);
  const int dtype = argument<int>(launch, 2);
  void* out = elements_at(device, argument<void*>(launch, 0), dtype, count, Access::read_write);
  const LeadingEntry* map = map_at(device, argument<const LeadingEntry*>(launch, 3), count, leading);
  harness_invalid(out, count, dtype, map, leading, argument<i64>(launch, 5), argument<i64>(launch, 6));
}

/// Codes of an output from its first to its last.
i64 reach(const CompareOrder& order) {
  i64 last = 0;
  const auto add = [&](const Axis* axes, int rank) {
    for (int a = 0; a < rank; ++a) last += (axes[a].extent - 1) * axes[a].out;
  };
  add(order.row, order.row_rank);
  add(order.per, order.per_rank);
  add(order.inner, order.inner_rank);
  return last + 1;
}

/// `results_of_row`: how many results a listed row has.
CompareOrder mapped(Device& device, const BoundLaunch& launch, i64 results_of_row) {
  auto order = argument<CompareOrder>(launch, 0);
  const i64 rows = launch.plan.grid[0] / results_of_row, codes = reach(order);
  const i64 in_element = order.bits > 0 ? bytes_of(order.dtype) * 8 / order.bits : 1;
  order.output = elements_at(device, order.output, order.dtype, (codes + in_element - 1) / in_element,
                             Access::read_only);
  order.gold = values_at<const double>(device, order.gold, rows * order.columns, Access::read_only);
  if (order.emulated)
    order.emulated = values_at<const double>(device, order.emulated, rows * order.columns, Access::read_only);
  order.rows = values_at<const i64>(device, order.rows, rows, Access::read_only);
  order.results = values_at<RowResult>(device, order.results, rows * results_of_row, Access::read_write);
  if (order.marks)
    order.marks = values_at<unsigned char>(device, order.marks, rows * ((order.columns + 3) / 4 * 4),
                                           Access::read_write);
  return order;
}

template <typename Kernel>
void run_blocks(const BoundLaunch& launch, const CompareOrder& order, Kernel kernel) {
  for (blockIdx.x = 0; blockIdx.x < launch.plan.grid[0]; ++blockIdx.x) kernel(order);
  blockIdx.x = 0;
}

void compare(Device& device, const BoundLaunch& launch) {
  const i64 parts = argument<CompareOrder>(launch, 0).parts;
  run_blocks(launch, mapped(device, launch, parts), harness_compare);
}

void select(Device& device, const BoundLaunch& launch) {
  run_blocks(launch, mapped(device, launch, 1), harness_select);
}

void worst(Device& device, const BoundLaunch& launch) {
  const i64 count = argument<i64>(launch, 1);
  harness_worst(values_at<const RowResult>(device, argument<void*>(launch, 0), count, Access::read_only),
                count, values_at<WorstResult>(device, argument<void*>(launch, 2), 1, Access::read_write));
}

struct HostKernel {
  std::string_view name;
  void (*run)(Device&, const BoundLaunch&);
};
constexpr HostKernel k_kernels[] = {{"harness_fill", fill},       {"harness_unit", unit_vectors},
                                    {"harness_invalid", invalid}, {"harness_compare", compare},
                                    {"harness_select", select},   {"harness_worst", worst}};

const HostKernel* find(std::string_view name) {
  for (const HostKernel& kernel : k_kernels) {
    if (kernel.name == name) return &kernel;
  }
  return nullptr;
}

}  // namespace
}  // namespace host_harness

bool runs_on_host(std::string_view kernel) { return host_harness::find(kernel) != nullptr; }

void run_on_host(Device& device, const BoundLaunch& launch) {
  const host_harness::HostKernel* kernel = host_harness::find(launch.kernel);
  KERNELITES_ASSERT(kernel != nullptr);
  kernel->run(device, launch);
}

}  // namespace kernelites::worker
