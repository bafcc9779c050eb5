// SPDX-License-Identifier: Apache-2.0
// Roofs against figures of the data sheets.
#include "engine/core/roofline.h"

#include <fstream>

#include "engine/core/device_peaks.h"
#include "engine/core/error.h"
#include "engine/core/json.h"
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

TEST_CASE("what is shorter than a launch is limited by the launch, whatever it reads") {
  const double launch_us = peaks_of(h100())->launch_us;
  REQUIRE(launch_us > 1);
  const RooflineCounts two_us{.bytes = 2 * 3.352e6};
  CHECK(floor_of(two_us, h100()).us == Approx(launch_us));
  CHECK(floor_of(two_us, h100()).limit == "launch");
  CHECK(roofline_share(two_us, h100(), 2 * launch_us).of_floor == Approx(0.5));
  CHECK(floor_of({.bytes = 20 * 3.352e6}, h100()).limit == "memory");
  CHECK(floor_of(two_us, {.kind = "NVIDIA A100-SXM4-80GB"}).launch_us == 0);  // not measured there
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

TEST_CASE("every task has a time below which work was skipped, and no measured kernel is below it") {
  const std::filesystem::path root = KERNELITES_SOURCE_DIR;
  std::map<std::string, Task> tasks;
  for (const std::string& name : list_tasks(root / "tasks")) {
    const Task task = load_task(root / "tasks" / name);
    for (const Workload& workload : task.bench) {
      INFO(name << " " << workload.name);
      const double least = impossible_below_us(task, workload, h100(), {});
      CHECK(least >= 0);
      // Never above the highest roof: it grants more than the roofline does.
      CHECK(least <= roofline_share(roofline_counts(task, workload), h100(), 1).floor_us);
    }
    tasks.emplace(name, task);
  }
  std::ifstream measured(root / "tests/bench/time_model_h100.jsonl");
  int rows = 0;
  for (std::string line; std::getline(measured, line); ++rows) {
    const Json row = Json::parse(line);
    const Task& task = tasks.at(row.at("task").get<std::string>());
    const auto* workload = task.find_workload(row.at("workload").get<std::string>());
    INFO(row.at("task") << " " << row.at("arm"));
    REQUIRE(workload != nullptr);
    CHECK(row.at("us").get<double>() > impossible_below_us(task, *workload, h100(), {}));
  }
  CHECK(rows >= 60);
}

TEST_CASE("shorter sequences lower the time below which work was skipped") {
  const Task task = load_task(std::filesystem::path(KERNELITES_SOURCE_DIR) / "tasks" / "gqa_decode_splitkv");
  const Workload& workload = task.bench.back();
  const double tokens = static_cast<double>(workload.dims.at("B") * workload.dims.at("S"));
  const double full = impossible_below_us(task, workload, h100(), {});
  CHECK(impossible_below_us(task, workload, h100(), {{"len", tokens}}) == Approx(full));
  CHECK(impossible_below_us(task, workload, h100(), {{"len", tokens / 4}}) == Approx(full / 4).epsilon(0.05));
}

TEST_CASE("outputs that fit into the L2 need no memory traffic within a call") {
  const Task task = load_task(std::filesystem::path(KERNELITES_SOURCE_DIR) / "tasks" / "rmsnorm");
  const Workload* workload = task.find_workload("llama3_70b_prefill");
  REQUIRE(workload != nullptr);
  const double read_us = 2.0 * 2048 * 8192 / 3.352e6;  // the other half, the output, stays in the cache
  CHECK(impossible_below_us(task, *workload, h100(), {}) == Approx(0.98 * read_us).epsilon(0.01));
}

TEST_CASE("a task may say how many times data are gone over, and else it is once") {
  const Task task = load_task(std::filesystem::path(KERNELITES_SOURCE_DIR) / "tasks" / "softmax_row");
  Json document = task.document;
  document["roofline"].erase("passes");
  document["roofline"].erase("pass_bytes");
  document["roofline"].erase("pass_pieces");
  CHECK(passes_of(parse_task(document, task.reference_source, "one pass")) == 1);
  document["roofline"]["passes"] = 0;
  CHECK_THROWS_AS(parse_task(document, task.reference_source, "no pass"), ConfigError);
  document["roofline"]["passes"] = 2;
  CHECK_THROWS_AS(parse_task(document, task.reference_source, "of what"), ConfigError);
  document["roofline"]["pass_bytes"] = "2*N";
  document["roofline"]["pass_pieces"] = "M - M";
  CHECK_THROWS_AS(parse_task(document, task.reference_source, "of nothing"), ConfigError);
}

TEST_CASE("what a second pass cannot find on the chip is read again, and is part of the floor") {
  const Task task = load_task(std::filesystem::path(KERNELITES_SOURCE_DIR) / "tasks" / "softmax_row");
  REQUIRE(passes_of(task) == 2);
  for (const Workload& workload : task.bench) CHECK(reloaded_bytes(task, workload, h100()) == 0);
  // Three rows of 400 MB: the L2, the registers and the shared memory of all multiprocessors hold some 120 MB.
  Workload wide = task.bench.front();
  wide.dims["M"] = 3;
  wide.dims["N"] = 200'000'000;
  const DeviceFacts device = h100();
  const double chip = static_cast<double>(device.l2_bytes) +
                      device.sm_count * (4.0 * device.registers_per_sm +
                                         static_cast<double>(device.shared_bytes_per_block_max));
  CHECK(reloaded_bytes(task, wide, device) == Approx(3 * (4e8 - chip)));
  const double once = roofline_counts(task, wide).bytes, all = counts_on(device, task, wide).bytes;
  CHECK(all == Approx(once + 3 * (4e8 - chip)));
  CHECK(roofline_share(counts_on(device, task, wide), device, 1e6).floor_us == Approx(all / 3.352e6));
  CHECK(impossible_below_us(task, wide, device, {}) > 0.95 * (all - device.l2_bytes) / 3.352e6);
}
