// SPDX-License-Identifier: Apache-2.0
// The harness's kernels on the host do what the same kernels do on a device.
#include "evaluators/worker/pipeline/harness_host.h"

#include <algorithm>
#include <cmath>

#include "engine/core/fill_kind.h"
#include "tests/support/catch.h"
#include "tests/support/harness_rig.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

constexpr Dtype k_types[] = {Dtype::f16,  Dtype::bf16, Dtype::f32, Dtype::f64, Dtype::e4m3,
                             Dtype::e5m2, Dtype::i8,   Dtype::u8,  Dtype::i32, Dtype::i64};

/// Three sequences of 5 tokens, of which 5, 3 and 0 are valid; 2 heads, vectors of 32.
TensorFill ordered(std::size_t kind, Dtype dtype) {
  TensorFill fill;
  fill.order = {.seed = 0x1234567 + kind,
                .pattern = 99,
                .count = 3 * 5 * 2 * 32,
                .leading = 5 * 2 * 32,
                .tokens = 5,
                .inner = 2 * 32,
                .columns = 32,
                .head_stride = 32,
                .heads = 2,
                .head_groups = 2};
  fill.order.dtype = static_cast<std::int32_t>(dtype);
  fill.order.as.kind = static_cast<std::int32_t>(kind);
  const auto& parameters = fill_kinds()[kind].parameters;
  for (std::size_t p = 0; p < parameters.size(); ++p)
    fill.order.as.p[p] = static_cast<float>(parameters[p].fallback);
  fill.map = {{.owner = 0, .start = 0, .count = 5, .valid = 5},
              {.owner = 1, .start = 0, .count = 3, .valid = 3},
              {.owner = 2, .start = 0, .count = 1, .valid = 0}};
  fill.has_invalid = true;
  return fill;
}

/// What the rig does, on the host.
class HostRig : public HarnessRig {
 public:
  HostRig()
      : HarnessRig(make_vgpu_device(1),
                   [](Device& device, const BoundLaunch& launch) { run_on_host(device, launch); }) {}
};

bool is_drawn_on_device(std::size_t kind) { return fill_kinds()[kind].place == FillPlace::device; }

}  // namespace

TEST_CASE("the host draws the bits that the device draws, for every kind and type") {
  HarnessRig device;
  HostRig host;
  int compared = 0;
  for (std::size_t kind = 0; kind < fill_kinds().size(); ++kind) {
    if (!is_drawn_on_device(kind)) continue;
    for (const Dtype dtype : k_types) {
      const TensorFill fill = ordered(kind, dtype);
      const auto bytes = static_cast<std::size_t>(fill.order.count) * dtype_bytes(dtype);
      INFO(fill_kinds()[kind].name << " as " << dtype_name(dtype));
      CHECK(device.fill(fill, bytes) == host.fill(fill, bytes));
      ++compared;
    }
  }
  CHECK(compared >= 200);
}

TEST_CASE("the host scales vectors to the length that the device gives them, to a unit in the last place") {
  HarnessRig device;
  HostRig host;
  TensorFill fill = ordered(0, Dtype::f32);
  fill.has_invalid = false;
  fill.unit = 3;
  fill.order.as.p[1] = 1;
  const auto bytes = static_cast<std::size_t>(fill.order.count) * sizeof(float);
  const std::vector<double> a = element_values(Dtype::f32, device.fill(fill, bytes)),
                            b = element_values(Dtype::f32, host.fill(fill, bytes));
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(std::fabs(a[i] - b[i]) <= 0x1p-22 * std::fabs(a[i]));
}

TEST_CASE("the host judges outputs as the device does") {
  HarnessRig device;
  HostRig host;
  for (const Compare compare : {Compare::values, Compare::log_sum_exp, Compare::codes, Compare::exact,
                                Compare::bitmap, Compare::selection}) {
    constexpr std::int64_t k_rows = 5, k_columns = 37;
    CompareOrder order;
    order.columns = k_columns;
    order.compare = static_cast<std::int32_t>(compare);
    order.dtype = static_cast<std::int32_t>(compare == Compare::selection ? Dtype::i32 : Dtype::f32);
    order.chosen = compare == Compare::selection ? 4 : 0;
    order.row_gate = 0.01, order.rms_factor = 0.02, order.distance = 0.6;
    const std::int64_t width = order.chosen > 0 ? order.chosen : k_columns;
    order.row_rank = order.inner_rank = 1;
    order.row[0] = {.extent = k_rows, .out = width, .gold = 0};
    order.inner[0] = {.extent = width, .out = 1, .gold = 1};
    std::vector<double> gold, values;
    for (std::int64_t i = 0; i < k_rows * k_columns; ++i)
      gold.push_back(std::sin(1.7 * static_cast<double>(i)));
    for (std::int64_t i = 0; i < k_rows * width; ++i)
      values.push_back(order.chosen > 0 ? static_cast<double>(i * i % k_columns)
                                        : gold[static_cast<std::size_t>(i)] * (i % 50 == 0 ? 1.03 : 1.001));
    TensorBytes output(values.size() * 4);
    const auto dtype = static_cast<Dtype>(order.dtype);
    for (std::size_t i = 0; i < values.size(); ++i) set_element(dtype, output, i, values[i]);
    const std::vector<std::int64_t> rows{4, 0, 2, 3, 1};
    const auto on_device = device.compare(order, output, gold, rows),
               on_host = host.compare(order, output, gold, rows);
    INFO(compare_name(compare));
    CHECK(on_device.worst.index == on_host.worst.index);
    CHECK(on_device.worst.mismatch == on_host.worst.mismatch);
    CHECK(on_device.worst.share == Approx(on_host.worst.share));
    CHECK(on_device.worst.element == Approx(on_host.worst.element));
    for (std::size_t i = 0; i < on_device.all.size(); ++i)
      CHECK(on_device.all[i].element == Approx(on_host.all[i].element));
  }
}

TEST_CASE("a launch that names memory which is not mapped is refused on the host") {
  const std::unique_ptr<Device> device = make_vgpu_device(1);
  const Buffer small = device->allocate(64, "small");
  const TensorFill fill = ordered(0, Dtype::f32);
  const auto launches = fill_launches(0, small, fill.order, 0, false, 0);
  CHECK_THROWS_AS(run_on_host(*device, launches.front()), Error);
}
