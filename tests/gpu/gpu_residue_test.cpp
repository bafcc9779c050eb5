// SPDX-License-Identifier: Apache-2.0
// What a launch finds of launches before it, on the real device: shared and local memory, registers, workspaces, L2.
#include <algorithm>

#include "tests/gpu/gpu_attacks.h"
#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

constexpr std::uint32_t k_tag = 0x7A6B5C4D;
constexpr int k_probes = 4096;

/// Words with the tag that `find` sees, after `plant` and what `between` holds; both on every multiprocessor.
std::uint32_t found(AttackBench& bench, const BoundLaunch& plant, const std::vector<BoundLaunch>& between,
                    const BoundLaunch& find, const Buffer& count) {
  bench.device->fill(count, 0);
  std::vector<BoundLaunch> launches{plant};
  launches.insert(launches.end(), between.begin(), between.end());
  launches.push_back(find);
  const SequenceOutcome outcome = bench.run(launches);
  INFO((outcome.fault ? outcome.fault->message : ""));
  REQUIRE_FALSE(outcome.fault);
  return read_all<std::uint32_t>(*bench.device, count, 1)[0];
}

/// Latencies of random lines, sorted, in cycles.
struct Probe {
  AttackBench& bench;
  Buffer set, latency, sink, flush;
  std::int64_t bytes;

  BoundLaunch plant(int evict_last, const Buffer& what) const {
    return bench.bare(
        "plant_lines",
        {argument(what.address), argument(what.bytes / 16), argument(evict_last), argument(sink.address)},
        1024);
  }
  BoundLaunch probe() const {
    return bench.bare("probe_lines",
                      {argument(set.address), argument(bytes / 128), argument(bench.seed++),
                       argument(latency.address), argument(k_probes), argument(sink.address)},
                      1, 1);
  }
  std::vector<std::uint32_t> latencies(const std::vector<std::vector<BoundLaunch>>& runs) const {
    for (const auto& launches : runs) {
      const SequenceOutcome outcome = bench.run(launches);
      INFO((outcome.fault ? outcome.fault->message : ""));
      REQUIRE_FALSE(outcome.fault);
    }
    auto values = read_all<std::uint32_t>(*bench.device, latency, k_probes);
    std::sort(values.begin(), values.end());
    return values;
  }
};

double share_below(const std::vector<std::uint32_t>& sorted, std::uint32_t threshold) {
  return static_cast<double>(std::lower_bound(sorted.begin(), sorted.end(), threshold) - sorted.begin()) /
         static_cast<double>(sorted.size());
}

}  // namespace

TEST_CASE("gpu around: shared memory holds nothing of the launch before") {
  KERNELITES_GPU_OR_SKIP(opened);
  AttackBench bench(std::move(opened));
  const DeviceFacts& facts = bench.device->facts();
  const auto bytes = static_cast<std::uint32_t>(facts.shared_bytes_per_block_max);
  const auto blocks = static_cast<std::uint32_t>(facts.sm_count);
  const Buffer count = bench.device->allocate(4, "count");
  BoundLaunch plant = bench.bare("plant_shared", {argument(k_tag), argument(bytes / 4)}, blocks);
  BoundLaunch find =
      bench.bare("find_shared", {argument(k_tag), argument(bytes / 4), argument(count.address)}, blocks);
  plant.plan.shared_bytes = find.plan.shared_bytes = bytes;
  const std::uint32_t without = found(bench, plant, {}, find, count);
  const std::uint32_t with = found(bench, plant, {scrub_launch(bench.harness, facts, 5)}, find, count);
  WARN("shared memory: " << without << " of " << blocks * (bytes / 4) << " words found without the scrub, "
                         << with << " with");
  CHECK(with < 8);  // noise may hit the tag once in 4 billion words
  CHECK(without > 1000);
}

TEST_CASE("gpu around: local memory and registers hold nothing of the launch before") {
  KERNELITES_GPU_OR_SKIP(opened);
  AttackBench bench(std::move(opened));
  const DeviceFacts& facts = bench.device->facts();
  const auto blocks = static_cast<std::uint32_t>(8 * facts.sm_count);
  const Buffer count = bench.device->allocate(4, "count"), sink = bench.device->allocate(4, "sink");
  const BoundLaunch plant = bench.bare("plant_local", {argument(k_tag), argument(sink.address)}, blocks);
  const BoundLaunch find = bench.bare("find_local", {argument(k_tag), argument(count.address)}, blocks);
  const BoundLaunch scrub = local_scrub_launch(bench.harness, facts, 2048, 5, sink.address);
  found(bench, plant, {scrub}, find, count);  // the pool takes its size
  const std::uint32_t without = found(bench, plant, {}, find, count);
  const std::uint32_t with = found(bench, plant, {scrub}, find, count);
  WARN("local memory: " << without << " words found without the scrub, " << with << " with");
  CHECK(with < 8);
  CHECK(without > 1000);

  const BoundLaunch set =
      bench.bare("plant_registers", {argument(k_tag), argument(sink.address)}, blocks, 1024);
  const BoundLaunch look =
      bench.bare("find_registers", {argument(k_tag), argument(count.address)}, blocks, 1024);
  const std::uint32_t registers = found(bench, set, {}, look, count);
  const std::uint32_t scrubbed = found(bench, set, {scrub_launch(bench.harness, facts, 5)}, look, count);
  WARN("registers that were never written: " << registers << " hold the tag without the scrub, " << scrubbed
                                             << " with");
  CHECK(scrubbed < 8);
}

TEST_CASE("gpu around: a plan finds nothing in the workspace that another plan used") {
  KERNELITES_GPU_OR_SKIP(opened);
  AttackBench bench(std::move(opened));
  constexpr std::int64_t k_large = 8 << 20, k_small = 4096;
  const Buffer count = bench.device->allocate(4, "tensor count");
  const Buffer source = bench.device->allocate(k_large, "tensor source");
  write_all(*bench.device, placed_tensors({count, source}, 0)[1],
            std::vector<std::uint32_t>(k_large / 4, k_tag));
  const Workspace large{.bytes = k_large}, small{.bytes = k_small};
  const RunOutcome planted = bench.launch(
      "copy", {count, source}, {workspace_argument(0), tensor_argument(1), long_argument(k_large / 4)}, 0,
      {large}, false);
  REQUIRE_FALSE(planted.fault);
  // Reads to the end of the mapping, far beyond its own workspace. At the start of the mapping: trial 2.
  const Buffer lies = placed_tensors({count}, 2)[0];
  bench.device->fill(count, 0);
  bench.device->fill(lies, 0);
  const RunOutcome looked = bench.launch("find_words", {count},
                                         {workspace_argument(0),
                                          long_argument(k_large / 4),
                                          {.kind = ArgumentKind::i32, .integer = k_tag},
                                          tensor_argument(0)},
                                         2, {small}, false);
  INFO((looked.fault ? looked.fault->message : ""));
  REQUIRE_FALSE(looked.fault);
  CHECK(read_all<std::uint32_t>(*bench.device, lies, 1)[0] == 0);
}

TEST_CASE("gpu around: the flush evicts lines that asked to stay, and leaves room for others") {
  KERNELITES_GPU_OR_SKIP(opened);
  AttackBench bench(std::move(opened));
  const std::int64_t l2 = bench.device->facts().l2_bytes, bytes = l2 / 4;
  const auto make = [&](std::int64_t size, const char* name) {
    const Buffer buffer = bench.device->allocate(size, name);
    bench.device->fill(buffer, 1);
    return buffer;
  };
  Probe probe{.bench = bench,
              .set = make(bytes, "set"),
              .latency = make(4 * k_probes, "latency"),
              .sink = make(4, "sink"),
              .flush = make(2 * l2, "flush"),
              .bytes = bytes};
  const BoundLaunch ordinary = probe.plant(0, probe.set), staying = probe.plant(1, probe.set);
  const BoundLaunch plain = probe.plant(0, probe.flush);
  const std::vector<BoundLaunch> full = flush_launches(bench.harness, probe.flush);
  const auto warm = probe.latencies({{ordinary, ordinary, probe.probe()}});
  const auto cold = probe.latencies({{ordinary, plain, plain, probe.probe()}});
  const std::uint32_t threshold = (warm[k_probes / 2] + cold[k_probes / 2]) / 2;
  WARN("latency in cycles: in the L2 " << warm[k_probes / 2] << ", evicted " << cold[k_probes / 2]
                                       << " (medians, n " << k_probes << "), working set " << bytes
                                       << " B of L2 " << l2 << " B");
  const auto report = [&](const char* what, const std::vector<std::vector<BoundLaunch>>& runs) {
    const double share = share_below(probe.latencies(runs), threshold);
    WARN(what << ": " << 100 * share << " % of the lines still in the L2");
    return share;
  };
  report("ordinary lines, nothing between", {{ordinary, probe.probe()}});
  report("ordinary lines, plain flush", {{ordinary, plain, probe.probe()}});
  report("evict-last lines, nothing between", {{staying, probe.probe()}});
  report("evict-last lines, plain flush", {{staying, plain, probe.probe()}});
  report("evict-last lines, plain flush twice", {{staying, plain, plain, probe.probe()}});
  report("evict-last lines, reset and nothing", {{staying}, {probe.probe()}});
  report("evict-last lines, reset and plain flush", {{staying}, {plain, probe.probe()}});
  report("evict-last lines, evict-last flush alone", {{staying, full[0], probe.probe()}});
  const double kept =
      report("evict-last lines, evict-last flush and demotion", {{staying, full[0], full[1], probe.probe()}});
  const double both = report("evict-last lines, reset, evict-last flush and demotion",
                             {{staying}, {full[0], full[1], probe.probe()}});
  report("ordinary lines read after an evict-last flush alone", {{full[0], ordinary, probe.probe()}});
  const double room = report("ordinary lines read after evict-last flush and demotion",
                             {{full[0], full[1], ordinary, probe.probe()}});
  report("ordinary lines read after a plain flush", {{plain, ordinary, probe.probe()}});
  CHECK(warm[k_probes / 2] < cold[k_probes / 2]);
  CHECK(std::max(kept, both) < 0.05);
  CHECK(room > 0.9);
}
