// SPDX-License-Identifier: Apache-2.0
// Roofs against figures of the data sheets.
#include "engine/core/roofline.h"

#include "engine/core/device_peaks.h"
#include "tests/support/catch.h"

using namespace kernelites;

namespace {

DeviceFacts h100() { return {.kind = "NVIDIA H100 80GB HBM3", .sm_count = 132, .memory_gb_per_s = 3000}; }

}  // namespace

TEST_CASE(
    "an H100 at its highest clock multiplies 1070 TFLOP/s, reads 3.35 TB/s and takes 4.18e12 exponentials") {
  const std::vector<Roof> tensor = roofs({.flops = 1070e12}, h100());
  CHECK(tensor.front().resource == "tensor cores");
  CHECK(tensor.front().time_us == Approx(1e6).epsilon(0.002));
  CHECK(roofs({.bytes = 3.352e12}, h100()).front().time_us == Approx(1e6));
  const std::vector<Roof> special = roofs({.exponentials = 4.18e12}, h100());
  CHECK(special.front().resource == "special functions");
  CHECK(special.front().time_us == Approx(1e6).epsilon(0.002));
}

TEST_CASE("attention with a head dimension of 64 is bound by exponentials as much as by products") {
  const double pairs = 1e9;
  const std::vector<Roof> all = roofs({.flops = 4 * 64 * pairs, .exponentials = pairs}, h100());
  CHECK(all[0].time_us == Approx(all[1].time_us));
  CHECK(roofs({.flops = 4 * 128 * pairs, .exponentials = pairs}, h100()).front().resource == "tensor cores");
}

TEST_CASE("a share of one is the best possible") {
  const RooflineShare share = roofline_share({.flops = 1, .bytes = 3.352e9}, h100(), 2000);
  CHECK(share.floor_us == Approx(1000));
  CHECK(share.of_floor == Approx(0.5));
  CHECK(share.limit == "memory");
  CHECK(share.gb_per_s == Approx(1676));
  CHECK(share.of_memory == Approx(1676.0 / 3000));
}

TEST_CASE("a device that is not in the table has rates and no floor") {
  const RooflineShare share = roofline_share({.bytes = 1e9}, {.kind = "NVIDIA Unheard-of"}, 1000);
  CHECK(share.gb_per_s == Approx(1000));
  CHECK(share.floor_us == 0);
  CHECK(share.limit.empty());
}

TEST_CASE("each device finds its own row, and the virtual GPU that of the device it models") {
  CHECK(peaks_of({.kind = "NVIDIA H100 PCIe"})->memory_gb_per_s == 2039);
  CHECK(peaks_of({.kind = "NVIDIA H200"})->memory_gb_per_s == 4800);
  CHECK(peaks_of({.kind = "NVIDIA A100-SXM4-80GB"})->memory_gb_per_s == 2039);
  CHECK(peaks_of({.kind = "vgpu (models H100)"})->memory_gb_per_s == 3352);
  CHECK(peaks_of({.kind = "Tesla T4"}) == nullptr);
}
