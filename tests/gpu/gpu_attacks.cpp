// SPDX-License-Identifier: Apache-2.0
// Compiling the kernels on the spot, and the single attacks of the child.
#include "tests/gpu/gpu_attacks.h"

#include <chrono>

#include "engine/core/error.h"
#include "evaluators/worker/nvrtc/compile.h"
#include "evaluators/worker/pipeline/input_seal.h"
#include "tests/gpu/gpu_attack_kernels.h"

namespace kernelites {

using namespace worker;

namespace {

ModuleImage compiled(const NvrtcLibrary& nvrtc, const std::string& source, const std::string& architecture) {
  const CompileOutput output = compile_in_process(
      nvrtc, {.source = source, .options = {"-arch=" + architecture, "--std=c++20", "-default-device"}});
  if (!output.ok) throw Error("the kernels of this test do not compile: " + output.log);
  return {.ptx = output.ptx, .cubin = output.cubin};
}

}  // namespace

AttackBench::AttackBench(std::unique_ptr<Device> opened) : device(std::move(opened)) {
  const NvrtcLibrary nvrtc = open_nvrtc(find_toolkit({}));
  const std::string architecture = device->facts().architecture;
  harness = device->load(compiled(nvrtc, harness_source(), architecture));
  attacks = device->load(compiled(nvrtc, k_attack_kernels, architecture));
  surroundings = std::make_unique<LaunchSurroundings>(*device, harness);
}

RunOutcome AttackBench::launch(const std::string& kernel, const std::vector<Buffer>& tensors,
                               const std::vector<Argument>& arguments, std::uint64_t placement,
                               const std::vector<Workspace>& workspaces, bool is_written,
                               std::uint32_t shared_bytes) {
  LaunchPlan plan{.workspaces = workspaces};
  plan.launches.push_back(
      {.kernel = kernel, .block = {256, 1, 1}, .shared_bytes = shared_bytes, .arguments = arguments});
  std::vector<int> written;
  for (std::size_t i = 0; is_written && i < tensors.size(); ++i) written.push_back(static_cast<int>(i));
  return surroundings->run({.plan = plan,
                            .module = attacks,
                            .lowered = {{kernel, kernel}},
                            .tensors = tensors,
                            .written = written,
                            .placement = placement,
                            .poison_seed = seed++,
                            .poison_kind = static_cast<int>(seed % k_poison_kinds)});
}

namespace {

/// Addresses of fresh buffers, and how long they took.
Json addresses(const Json& order) {
  const auto device = make_gpu_device();
  Json reply{{"addresses", Json::array()}, {"reserve_us", Json::array()}};
  for (int i = 0; i < order.at("count").get<int>(); ++i) {
    const auto begin = std::chrono::steady_clock::now();
    reply["addresses"].push_back(device->allocate(4096, "probe").address);
    reply["reserve_us"].push_back(
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count());
  }
  return reply;
}

/// Whether a function still computes what it did, after its code was read or written.
Json write_code(const Json& order) {
  AttackBench bench(make_gpu_device());
  const Buffer out = bench.device->allocate(16, "out");
  bench.device->fill(out, 0);
  const auto really = order.at("really").get<int>();
  const SequenceOutcome outcome =
      bench.run({bench.bare("write_code", {argument(out.address), argument(really)}, 1, 1)});
  Json reply{{"reason", outcome.fault ? outcome.fault->reason : ""}, {"is_intact", true}};
  if (outcome.fault) return reply;
  const SequenceOutcome again =
      bench.run({bench.bare("write_code", {argument(out.address), argument(0)}, 1, 1)});
  reply["again"] = again.fault ? again.fault->reason : "";
  if (again.fault) return reply;
  const auto words = read_all<std::uint32_t>(*bench.device, out, 4);
  reply["words"] = words;
  reply["is_intact"] = words[3] == 1;  // 3 * 0 + 1
  return reply;
}

/// Discards a freshly written input through a second, read-only mapping of it.
Json discard_lines() {
  AttackBench bench(make_gpu_device());
  const std::int64_t bytes = 4 << 20;
  const Buffer in = bench.device->allocate(bytes, "tensor in");
  bench.device->fill(in, 0);
  const Buffer seen = bench.device->map(bench.device->share(in), bytes, Access::read_only, "tensor in");
  ScratchMemory memory(*bench.device);
  const InputSeal seal(memory, bench.harness, {in}, {0});
  Json reply{{"is_intact", true}};
  for (int i = 0; i < 8; ++i) {
    bench.device->fill(in, static_cast<std::uint8_t>(0x5a + i));  // dirty in the L2
    const InputSeal fresh(memory, bench.harness, {in}, {0});
    bench.device->fill(in, static_cast<std::uint8_t>(0x5a + i));
    const SequenceOutcome outcome =
        bench.run({bench.bare("discard_lines", {argument(seen.address), argument(bytes / 128)}, 64)});
    reply["reason"] = outcome.fault ? outcome.fault->reason : "";
    if (outcome.fault) return reply;
    if (!fresh.changed(memory, bench.harness, {in}).empty()) reply["is_intact"] = false;
  }
  return reply;
}

}  // namespace

Json attack(const Json& order) {
  if (order.at("kernel") == "addresses") return addresses(order);
  if (order.at("kernel") == "write_code") return write_code(order);
  if (order.at("kernel") == "discard_lines") return discard_lines();
  AttackBench bench(make_gpu_device());
  const auto bytes = order.value("bytes", std::int64_t{1000});
  const auto placement = order.at("placement").get<std::uint64_t>();
  const auto target = order.value("target", "tensor");
  const auto kernel = order.at("kernel").get<std::string>();
  const std::int64_t offset = order.at("offset").get<std::int64_t>();
  const Buffer out = bench.device->allocate(bytes, "tensor out");
  std::vector<Buffer> tensors{out};
  std::vector<Argument> arguments{tensor_argument(0)};
  std::vector<Workspace> workspaces;
  if (target == "workspace") {
    workspaces.push_back({.bytes = bytes});
    arguments = {workspace_argument(0)};
  }
  if (kernel == "read_at") {  // (out, in, offset)
    const Buffer in = bench.device->allocate(bytes, "tensor in");
    bench.device->fill(in, 0);
    tensors.push_back(in);
    // The second tensor's placement is the next one's: ask for it so that it is the one wanted.
    arguments.insert(arguments.end(), tensor_argument(1));
    arguments.push_back(long_argument(offset));
    const RunOutcome outcome = bench.launch(kernel, tensors, arguments, placement + k_placements - 1);
    return {{"reason", outcome.fault ? outcome.fault->reason : ""},
            {"message", outcome.fault ? outcome.fault->message : ""}};
  }
  arguments.push_back(long_argument(offset));
  const RunOutcome outcome = bench.launch(kernel, tensors, arguments, placement, workspaces);
  return {{"reason", outcome.fault ? outcome.fault->reason : ""},
          {"message", outcome.fault ? outcome.fault->message : ""}};
}

}  // namespace kernelites
