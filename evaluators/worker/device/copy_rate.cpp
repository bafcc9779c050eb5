// SPDX-License-Identifier: Apache-2.0
// A grid-stride copy of 16-byte vectors, as PTX: it needs no compiler, only the driver's.
#include "evaluators/worker/device/copy_rate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "engine/core/error.h"

namespace kernelites::worker {
namespace {

constexpr std::int64_t k_copy_bytes = std::int64_t{512} << 20;
constexpr int k_warm_up = 3;
constexpr double k_copy_deadline_s = 10;

constexpr const char* k_copy_ptx = R"(
.version 7.0
.target sm_70
.address_size 64
.visible .entry copy_vectors(.param .u64 target, .param .u64 source, .param .u64 count)
{
  .reg .pred %done;
  .reg .b32 %block, %threads, %thread, %blocks, %a, %b, %c, %d;
  .reg .b64 %to, %from, %count, %index, %stride, %offset, %wide, %load, %store;
  ld.param.u64 %to, [target];
  ld.param.u64 %from, [source];
  ld.param.u64 %count, [count];
  cvta.to.global.u64 %to, %to;
  cvta.to.global.u64 %from, %from;
  mov.u32 %block, %ctaid.x;
  mov.u32 %threads, %ntid.x;
  mov.u32 %thread, %tid.x;
  mov.u32 %blocks, %nctaid.x;
  mul.wide.u32 %index, %block, %threads;
  cvt.u64.u32 %wide, %thread;
  add.u64 %index, %index, %wide;
  mul.wide.u32 %stride, %blocks, %threads;
again:
  setp.ge.u64 %done, %index, %count;
  @%done bra end;
  shl.b64 %offset, %index, 4;
  add.u64 %load, %from, %offset;
  add.u64 %store, %to, %offset;
  ld.global.nc.v4.u32 {%a, %b, %c, %d}, [%load];
  st.global.v4.u32 [%store], {%a, %b, %c, %d};
  add.u64 %index, %index, %stride;
  bra again;
end:
  ret;
}
)";

BoundArgument argument_of(std::uint64_t value) {
  BoundArgument argument;
  argument.bytes.resize(sizeof value);
  std::memcpy(argument.bytes.data(), &value, sizeof value);
  return argument;
}

/// Buffers and module of one measurement, given back at its end.
class CopyBench {
 public:
  explicit CopyBench(Device& device) : device_(device) {
    source_ = device_.allocate(k_copy_bytes, "copy source");
    target_ = device_.allocate(k_copy_bytes, "copy target");
    device_.fill(source_, 0x5a);
    launch_ = {.module = device_.load({.ptx = k_copy_ptx, .cubin = {}}), .kernel = "copy_vectors"};
    launch_.plan.kernel = "copy_vectors";
    // Two full waves of 1024 threads per SM; one vector of 16 bytes for each turn of a thread.
    launch_.plan.grid = {static_cast<std::uint32_t>(device_.facts().sm_count) * 4, 1, 1};
    launch_.plan.block = {1024, 1, 1};
    launch_.arguments = {argument_of(target_.address), argument_of(source_.address),
                         argument_of(k_copy_bytes / 16)};
  }
  CopyBench(const CopyBench&) = delete;
  CopyBench& operator=(const CopyBench&) = delete;
  ~CopyBench() {
    device_.release(source_);
    device_.release(target_);
  }

  double gb_per_s() {
    const SequenceOutcome outcome = device_.run({}, {&launch_, 1}, RunMode::timing, k_copy_deadline_s);
    if (outcome.fault)
      throw Error(fmt::format("the copy rate cannot be measured: {}", outcome.fault->message));
    return 2e-3 * static_cast<double>(k_copy_bytes) / outcome.elapsed_us;
  }
  void finish() { device_.unload(launch_.module); }

 private:
  Device& device_;
  Buffer source_, target_;
  BoundLaunch launch_;
};

}  // namespace

CopyRate measure_copy_rate(Device& device, int samples) {
  KERNELITES_ASSERT(!device.facts().is_virtual && samples >= 10);
  CopyBench bench(device);
  std::vector<double> rates;
  for (int i = -k_warm_up; i < samples; ++i) {
    const double rate = bench.gb_per_s();
    if (i >= 0) rates.push_back(rate);
  }
  bench.finish();
  std::sort(rates.begin(), rates.end());
  const auto quantile = [&](double q) {
    return rates[static_cast<std::size_t>(q * static_cast<double>(samples - 1))];
  };
  return {.gb_per_s_median = quantile(0.5),
          .gb_per_s_p10 = quantile(0.1),
          .gb_per_s_p90 = quantile(0.9),
          .samples = samples};
}

}  // namespace kernelites::worker
