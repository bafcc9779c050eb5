// SPDX-License-Identifier: Apache-2.0
// The real device in one process: facts, memory, every sort of launch, refusals.
#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "engine/core/error.h"
#include "evaluators/worker/device/copy_rate.h"
#include "tests/gpu/gpu_support.h"
#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

/// The device refuses `launch` in words and works afterwards.
void check_refused(Device& device, const BoundLaunch& launch, const std::string& word) {
  const SequenceOutcome outcome = run_one(device, launch);
  REQUIRE(outcome.fault);
  INFO(outcome.fault->message);
  CHECK(outcome.fault->reason == "invalid_launch");
  CHECK(outcome.fault->message.find(word) != std::string::npos);
  const Buffer buffer = device.allocate(4, "probe");
  CHECK_FALSE(run_one(device, launch_of(launch.module, "poke", {argument(buffer.address)})).fault);
  CHECK(read_all<std::uint32_t>(device, buffer, 1)[0] == 7);
  device.release(buffer);
}

}  // namespace

TEST_CASE("gpu: the facts are those of a real device") {
  KERNELITES_GPU_OR_SKIP(device);
  const DeviceFacts& facts = device->facts();
  WARN(facts.kind << ", " << facts.architecture << ", driver " << facts.driver_version << ", "
                  << facts.sm_count << " SMs, " << facts.shared_bytes_per_block_max << " B shared, L2 "
                  << facts.l2_bytes << " B");
  CHECK_FALSE(facts.is_virtual);
  CHECK(facts.architecture.rfind("sm_", 0) == 0);
  CHECK(facts.sm_count > 0);
  CHECK(facts.shared_bytes_per_block_max >= 48 * 1024);
  CHECK(facts.memory_bytes > std::int64_t{1} << 30);
  CHECK(facts.l2_bytes > 0);
  CHECK(facts.driver_version >= 12000);
}

TEST_CASE("gpu: what was written is read back, at any offset") {
  KERNELITES_GPU_OR_SKIP(device);
  const Buffer buffer = device->allocate(5'000'001, "buffer");
  device->fill(buffer, 0xab);
  const std::byte data[] = {std::byte{1}, std::byte{2}, std::byte{3}};
  device->write(buffer, 4'999'998, data);
  std::byte back[4];
  device->read(buffer, 4'999'997, back);
  CHECK(back[0] == std::byte{0xab});
  CHECK(std::equal(back + 1, back + 4, data));
  CHECK_THROWS_AS(device->read(buffer, 4'999'998, back), Error);
  device->release(buffer);
  CHECK_THROWS_AS(device->read(buffer, 0, back), Error);
}

TEST_CASE("gpu: a launch gets its arguments and takes time") {
  KERNELITES_GPU_OR_SKIP(device);
  constexpr std::uint32_t n = 100'000;
  const Buffer in = device->allocate(n * 4, "in"), out = device->allocate(n * 4, "out");
  std::vector<float> values(n);
  std::iota(values.begin(), values.end(), 0.0f);
  write_all(*device, in, values);
  const auto module = load_kernels(*device);
  const SequenceOutcome outcome =
      run_one(*device, launch_of(module, "scale",
                                 {argument(out.address), argument(in.address), argument(n), argument(0.5f)},
                                 400, 256));
  REQUIRE_FALSE(outcome.fault);
  CHECK(outcome.elapsed_us > 0);
  CHECK(outcome.elapsed_us < 1e5);
  const auto results = read_all<float>(*device, out, n);
  CHECK(results[0] == 0.5f);
  CHECK(results[n - 1] == 2.0f * (n - 1) + 0.5f);
}

TEST_CASE("gpu: only the timed launches are timed") {
  KERNELITES_GPU_OR_SKIP(device);
  const Buffer data = device->allocate(8, "data");
  const auto module = load_kernels(*device);
  const BoundLaunch slow = launch_of(module, "producer", {argument(data.address)});  // 2 ms
  const BoundLaunch fast = launch_of(module, "poke", {argument(data.address)});
  const SequenceOutcome outcome = device->run({&slow, 1}, {&fast, 1}, RunMode::timing, 20);
  REQUIRE_FALSE(outcome.fault);
  CHECK(outcome.elapsed_us < 1000);
  const SequenceOutcome other = device->run({&fast, 1}, {&slow, 1}, RunMode::timing, 20);
  REQUIRE_FALSE(other.fault);
  CHECK(other.elapsed_us > 1900);
}

TEST_CASE("gpu: what runs beside the timed launches runs while they do, and is waited for") {
  KERNELITES_GPU_OR_SKIP(device);
  const Buffer flag = device->allocate(4, "flag");
  const auto module = load_kernels(*device);
  BoundLaunch waits = launch_of(module, "spin", {argument(flag.address)});
  waits.is_beside = true;
  const BoundLaunch releases = launch_of(module, "poke", {argument(flag.address)});
  for (int i = 0; i < 3; ++i) {
    device->fill(flag, 0);
    // One after the other they would never end.
    const SequenceOutcome outcome = device->run({&waits, 1}, {&releases, 1}, RunMode::full, 5);
    REQUIRE_FALSE(outcome.fault);
  }
}

TEST_CASE("gpu: clusters have the size that was asked for") {
  KERNELITES_GPU_OR_SKIP(device);
  const Buffer out = device->allocate(32 * 4, "out");
  for (const std::uint32_t size : {2u, 4u, 8u, 16u}) {
    BoundLaunch launch = launch_of(load_kernels(*device), "cluster_ranks", {argument(out.address)}, 32);
    launch.plan.cluster = {size, 1, 1};
    const SequenceOutcome outcome = run_one(*device, launch);
    INFO("cluster of " << size << (outcome.fault ? outcome.fault->message : ""));
    REQUIRE_FALSE(outcome.fault);
    const auto ranks = read_all<std::uint32_t>(*device, out, 32);
    for (std::uint32_t block = 0; block < 32; ++block) CHECK(ranks[block] == 100 * size + block % size);
  }
}

TEST_CASE("gpu: all opt-in shared memory can be had, and carved out") {
  KERNELITES_GPU_OR_SKIP(device);
  const Buffer out = device->allocate(4, "out");
  const auto bytes = static_cast<std::uint32_t>(device->facts().shared_bytes_per_block_max);
  BoundLaunch launch =
      launch_of(load_kernels(*device), "last_shared", {argument(out.address), argument(bytes)});
  launch.plan.shared_bytes = bytes;
  launch.plan.carveout_percent = 100;
  const SequenceOutcome outcome = run_one(*device, launch);
  INFO((outcome.fault ? outcome.fault->message : ""));
  REQUIRE_FALSE(outcome.fault);
  CHECK(read_all<std::uint32_t>(*device, out, 1)[0] == 1234);
}

TEST_CASE("gpu: the blocks of a cooperative launch can wait for each other") {
  KERNELITES_GPU_OR_SKIP(device);
  const auto blocks = static_cast<std::uint32_t>(device->facts().sm_count);
  const Buffer count = device->allocate(4, "count"), out = device->allocate(blocks * 4, "out");
  device->fill(count, 0);
  BoundLaunch launch =
      launch_of(load_kernels(*device), "meet", {argument(count.address), argument(out.address)}, blocks);
  launch.plan.is_cooperative = true;
  REQUIRE_FALSE(run_one(*device, launch).fault);
  CHECK(read_all<std::uint32_t>(*device, out, blocks) == std::vector<std::uint32_t>(blocks, blocks));
}

TEST_CASE("gpu: a programmatic dependent launch sees what it waited for") {
  KERNELITES_GPU_OR_SKIP(device);
  const Buffer data = device->allocate(8, "data");
  device->fill(data, 0);
  const auto module = load_kernels(*device);
  BoundLaunch launches[] = {launch_of(module, "producer", {argument(data.address)}),
                            launch_of(module, "consumer", {argument(data.address)})};
  launches[1].plan.is_programmatic = true;
  const SequenceOutcome outcome = device->run({}, launches, RunMode::full, 20);
  REQUIRE_FALSE(outcome.fault);
  CHECK(read_all<std::uint32_t>(*device, data, 2) == std::vector<std::uint32_t>{41, 42});
}

TEST_CASE("gpu: the copy engine loads a tile through a tensor map") {
  KERNELITES_GPU_OR_SKIP(device);
  constexpr int k_columns = 128, k_rows = 96;
  std::vector<float> matrix(k_columns * k_rows);
  std::iota(matrix.begin(), matrix.end(), 0.0f);
  const Buffer in = device->allocate(k_columns * k_rows * 4, "in"),
               out = device->allocate(32 * 32 * 4, "out");
  write_all(*device, in, matrix);
  BoundArgument map;
  map.tensor_map = TensorMap{};
  map.tensor_map->dtype = Dtype::f32;
  map.tensor_map->rank = 2;
  map.tensor_map->extent = {k_columns, k_rows};
  map.tensor_map->stride_bytes = {4, k_columns * 4};
  map.tensor_map->box = {32, 32};
  map.map_address = in.address;
  const std::uint32_t x = 64, y = 80;  // the last 16 rows lie outside and are zeros
  const SequenceOutcome outcome =
      run_one(*device, launch_of(load_kernels(*device), "tma_tile",
                                 {map, argument(out.address), argument(x), argument(y)}, 1, 1024));
  INFO((outcome.fault ? outcome.fault->message : ""));
  REQUIRE_FALSE(outcome.fault);
  const auto tile = read_all<float>(*device, out, 32 * 32);
  CHECK(tile[0] == matrix[80 * k_columns + 64]);
  CHECK(tile[15 * 32 + 31] == matrix[95 * k_columns + 95]);
  CHECK(tile[16 * 32] == 0.0f);
}

TEST_CASE("gpu: a launch that cannot be is refused in words, and the device goes on") {
  KERNELITES_GPU_OR_SKIP(device);
  const auto module = load_kernels(*device);
  check_refused(*device, launch_of(module, "missing", {}), "no kernel");
  check_refused(*device, launch_of(module, "poke", {argument(std::uint64_t{0})}, 1, 2048), "threads");
  check_refused(*device, launch_of(module, "poke", {}), "parameters");
  check_refused(*device, launch_of(module, "poke", {argument(std::uint32_t{0})}), "bytes");
  BoundLaunch greedy =
      launch_of(module, "last_shared", {argument(std::uint64_t{0}), argument(std::uint32_t{0})});
  greedy.plan.shared_bytes = 1 << 20;
  check_refused(*device, greedy, "shared memory");
  BoundLaunch cluster = launch_of(module, "poke", {argument(std::uint64_t{0})}, 3);
  cluster.plan.cluster = {2, 1, 1};  // does not divide the grid
  check_refused(*device, cluster, "");
}

TEST_CASE("gpu: a module that cannot be loaded is refused in the driver's words") {
  KERNELITES_GPU_OR_SKIP(device);
  std::string problem;
  try {
    device->load({.ptx = ".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry k() { nonsense; }",
                  .cubin = {}});
  } catch (const Error& error) {
    problem = error.what();
  }
  INFO(problem);
  CHECK(problem.find("CUDA_ERROR_") != std::string::npos);
  CHECK(problem.find("nonsense") != std::string::npos);
}

TEST_CASE("gpu: an unloaded module's kernels are gone") {
  KERNELITES_GPU_OR_SKIP(device);
  const auto module = load_kernels(*device);
  device->unload(module);
  CHECK_THROWS_AS(run_one(*device, launch_of(module, "poke", {argument(std::uint64_t{0})})), Error);
}

TEST_CASE("gpu: the copy rate is that of device memory, and steady") {
  KERNELITES_GPU_OR_SKIP(device);
  const CopyRate rate = measure_copy_rate(*device);
  WARN("copy rate " << rate.gb_per_s_median << " GB/s (p10 " << rate.gb_per_s_p10 << ", p90 "
                    << rate.gb_per_s_p90 << ", n " << rate.samples << ")");
  CHECK(rate.samples >= 10);
  CHECK(rate.gb_per_s_median > 100);
  CHECK(rate.gb_per_s_p90 < 1.3 * rate.gb_per_s_p10);
}
