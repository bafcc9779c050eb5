// SPDX-License-Identifier: Apache-2.0
// What the work around a launch costs on the real device, step by step: the table of docs/harness.md.
#include <chrono>

#include "evaluators/worker/device/cuda_memory.h"
#include "evaluators/worker/pipeline/input_seal.h"
#include "tests/gpu/gpu_attacks.h"
#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

constexpr int k_samples = 20;

struct Figures {
  double median = 0, low = 0, high = 0;
};

Figures figures_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
  };
  return {at(0.5), at(0.1), at(0.9)};
}

void print(const std::string& what, const Figures& us) {
  WARN("| " << what << " | " << us.median << " | " << us.low << " | " << us.high << " | " << k_samples
            << " |");
}

template <typename Work>
Figures host_us(const Work& work) {
  std::vector<double> values;
  for (int i = 0; i < k_samples + 2; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    if (i >= 2)
      values.push_back(
          std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count());
  }
  return figures_of(std::move(values));
}

Figures device_us(AttackBench& bench, const std::vector<BoundLaunch>& launches) {
  std::vector<double> values;
  for (int i = 0; i < k_samples + 2; ++i) {
    const SequenceOutcome outcome = bench.run(launches);
    REQUIRE_FALSE(outcome.fault);
    if (i >= 2) values.push_back(outcome.elapsed_us);
  }
  return figures_of(std::move(values));
}

}  // namespace

TEST_CASE("gpu around: what the steps around a launch cost") {
  KERNELITES_GPU_OR_SKIP(opened);
  AttackBench bench(std::move(opened));
  const DeviceFacts facts = bench.device->facts();
  const Buffer out = bench.device->allocate(32 << 20, "tensor out"),
               in = bench.device->allocate(32 << 20, "tensor in");
  const Buffer large = bench.device->allocate(std::int64_t{1} << 30, "large"),
               flush = bench.device->allocate(2 * facts.l2_bytes, "flush"),
               sink = bench.device->allocate(64, "sink");
  const Buffer middle = placed(out, Placement::amid, 256);
  WARN("| step (device time, us) | median | p10 | p90 | n |");
  print("null sequence", device_us(bench, {clear_launch(bench.harness, sink)}));
  print("poison, 32 MiB", device_us(bench, {poison_launch(bench.harness, out, 1, 0)}));
  print("slack of one mapping", device_us(bench, {slack_launch(bench.harness, middle, 1, 0)}));
  print("verify the slack of one mapping",
        device_us(bench, {verify_launch(bench.harness, middle, 1, 0, sink.address)}));
  print("scrub of shared memory and registers", device_us(bench, {scrub_launch(bench.harness, facts, 1)}));
  print("scrub of local memory, 512 B frames",
        device_us(bench, {local_scrub_launch(bench.harness, facts, 512, 1, sink.address)}));
  print("scrub of local memory, 4 KiB frames",
        device_us(bench, {local_scrub_launch(bench.harness, facts, 4096, 1, sink.address)}));
  const auto both = flush_launches(bench.harness, flush);
  print("flush with evict-last", device_us(bench, {both[0]}));
  print("demotion", device_us(bench, {both[1]}));
  print("plain flush", device_us(bench, {bench.bare("plant_lines",
                                                    {argument(flush.address), argument(flush.bytes / 16),
                                                     argument(0), argument(sink.address)},
                                                    1024)}));
  print("digest of 1 GiB", device_us(bench, {digest_launch(bench.harness, large, 1, sink.address)}));
  WARN("| step (host time, us) | median | p10 | p90 | n |");
  const std::vector<Buffer> tensors{out, in};
  const std::vector<Argument> arguments{tensor_argument(0), tensor_argument(1), long_argument(1024)};
  std::uint64_t trial = 0;
  print("whole run of a plan, 2 tensors of 32 MiB",
        host_us([&] { REQUIRE_FALSE(bench.launch("copy", tensors, arguments, trial++).fault); }));
  print("bare run of one launch", host_us([&] { bench.run({clear_launch(bench.harness, sink)}); }));
  ScratchMemory memory(*bench.device);
  print("seal of 1 GiB", host_us([&] { InputSeal(memory, bench.harness, {large}, {0}); }));
}

TEST_CASE("gpu around: what mapping, access rights and random addresses cost") {
  KERNELITES_GPU_OR_SKIP(device);
  const CudaLibrary cuda = open_cuda();
  WARN("| step (host time, us) | median | p10 | p90 | n |");
  print("reset of persisting L2 lines", host_us([&] { cuda.context_reset_persisting_l2(); }));
  CudaMemory memory(cuda, 0);
  for (const std::int64_t mib : {2, 64, 1024}) {
    const Buffer buffer = memory.allocate((mib << 20) - (1 << 18), "probe");
    const auto bytes = static_cast<std::size_t>(buffer.mapped_bytes);
    const auto set = [&](int flags) {
      const cuda::AccessDescription allowed{.location = {.type = cuda::k_location_type_device, .id = 0},
                                            .flags = flags};
      check_cuda(cuda, cuda.memory_set_access(buffer.mapped_address, bytes, &allowed, 1), "memory_set_access",
                 __FILE__, __LINE__);
    };
    const std::string size = std::to_string(mib) + " MiB";
    int flips = 0;
    print("access rights of " + size + ", none and back", host_us([&] {
            set(0);
            set(3);
          }));
    print("access rights of " + size + ", read-only or writable", host_us([&] { set(++flips % 2 ? 1 : 3); }));
    print("share, map elsewhere, unmap " + size, host_us([&] {
            memory.release(memory.map(memory.share(buffer), buffer.bytes, Access::read_only, "again"));
          }));
    print("allocate and release " + size,
          host_us([&] { memory.release(memory.allocate(buffer.bytes, "fresh")); }));
  }
}
