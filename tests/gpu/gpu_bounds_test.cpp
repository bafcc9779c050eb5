// SPDX-License-Identifier: Apache-2.0
// Out of bounds on the real device: guards, slack, read-only inputs, seals, and addresses that cannot be guessed.
#include <algorithm>
#include <set>

#include "evaluators/worker/pipeline/input_seal.h"
#include "evaluators/worker/sandbox/child.h"
#include "tests/gpu/gpu_attacks.h"
#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

constexpr std::uint64_t k_start = 0, k_end = 1, k_amid = 2;

Json attack_in_child(const Json& order) {
  Child child = Child::start("attack", {.open_files = 1024});
  Message message;
  message.body = order;
  REQUIRE(child.channel().send(message, 30));
  const auto reply = child.channel().receive(60);
  if (reply) return reply->body;
  child.kill();
  const auto end = child.wait(30);
  return {{"reason", "child_ended"}, {"message", end ? end->words : "cannot be reaped"}};
}

void check_attack(const Json& order, const std::string& reason, const std::string& words = "") {
  const Json reply = attack_in_child(order);
  INFO(order.dump() << " -> " << reply.dump());
  CHECK(reply["reason"] == reason);
  CHECK(reply["message"].get<std::string>().find(words) != std::string::npos);
}

}  // namespace

TEST_CASE(
    "gpu around: a read behind a tensor at the end of its mapping, and before one at the start, faults") {
  KERNELITES_GPU_OR_SKIP(device);
  device.reset();
  // 1000 bytes end 24 bytes before the next multiple of 256: those are noise, behind them is nothing.
  check_attack({{"kernel", "read_at"}, {"placement", k_end}, {"offset", 1024}}, "illegal_address");
  check_attack({{"kernel", "read_at"}, {"placement", k_end}, {"offset", 60 << 20}}, "illegal_address");
  check_attack({{"kernel", "read_at"}, {"placement", k_start}, {"offset", -4}}, "illegal_address");
  check_attack({{"kernel", "read_at"}, {"placement", k_start}, {"offset", -(60 << 20)}}, "illegal_address");
  check_attack({{"kernel", "read_at"}, {"placement", k_amid}, {"offset", 3 << 20}}, "illegal_address");
  check_attack({{"kernel", "read_at"}, {"placement", k_start}, {"offset", 996}}, "");
  check_attack({{"kernel", "read_at"}, {"placement", k_end}, {"offset", 0}}, "");
}

TEST_CASE("gpu around: a write beside a tensor or workspace is out of bounds wherever it lies") {
  KERNELITES_GPU_OR_SKIP(device);
  device.reset();
  for (const char* target : {"tensor", "workspace"}) {
    // The first workspace's placement is one ahead of the trial's.
    const std::uint64_t shift = std::string(target) == "workspace" ? 2 : 0;
    const auto order = [&](std::uint64_t placement, std::int64_t offset) {
      return Json{
          {"kernel", "write_at"}, {"placement", placement + shift}, {"offset", offset}, {"target", target}};
    };
    check_attack(order(k_end, 996), "");
    check_attack(order(k_end, 1000), "out_of_bounds", "behind the end of");
    check_attack(order(k_end, -4), "out_of_bounds", "before the start of");
    check_attack(order(k_end, 1024), "illegal_address");
    check_attack(order(k_start, 1000), "out_of_bounds", "behind the end of");
    check_attack(order(k_start, 1 << 20), "out_of_bounds", "behind the end of");
    check_attack(order(k_start, -4), "illegal_address");
    check_attack(order(k_amid, -4), "out_of_bounds", "before the start of");
    check_attack(order(k_amid, 1000), "out_of_bounds", "behind the end of");
  }
}

TEST_CASE("gpu around: an honest kernel passes in every placement, and its output is its own") {
  KERNELITES_GPU_OR_SKIP(opened);
  AttackBench bench(std::move(opened));
  constexpr std::int64_t k_words = 12345;
  const Buffer out = bench.device->allocate(4 * k_words, "tensor out"),
               in = bench.device->allocate(4 * k_words, "tensor in");
  for (std::uint64_t trial = 0; trial < 60; ++trial) {
    const std::vector<Buffer> tensors{out, in};
    const std::vector<Buffer> lie = placed_tensors(tensors, trial);
    CHECK(lie[0].address % 256 == 0);
    if (trial % 3 == k_amid) CHECK(lie[0].address % 512 == 256);
    const RunOutcome outcome = bench.launch(
        "copy", tensors, {tensor_argument(0), tensor_argument(1), long_argument(k_words)}, trial);
    INFO("trial " << trial << (outcome.fault ? outcome.fault->message : ""));
    REQUIRE_FALSE(outcome.fault);
    CHECK(read_all<std::uint32_t>(*bench.device, lie[0], k_words) ==
          read_all<std::uint32_t>(*bench.device, lie[1], k_words));
  }
}

TEST_CASE("gpu around: a seal sees one changed bit of a gigabyte, and in the slack as well") {
  KERNELITES_GPU_OR_SKIP(opened);
  AttackBench bench(std::move(opened));
  const std::vector<Buffer> tensors{bench.device->allocate(std::int64_t{1} << 30, "large"),
                                    bench.device->allocate(1000, "small")};
  for (const Buffer& tensor : tensors) bench.device->fill(tensor, 0x5a);
  ScratchMemory memory(*bench.device);
  const InputSeal seal(memory, bench.harness, tensors, {0, 1});
  CHECK(seal.changed(memory, bench.harness, tensors).empty());
  const std::byte other{0x5b}, same{0x5a};
  bench.device->write(tensors[0], 777'777'777, {&other, 1});
  CHECK(seal.changed(memory, bench.harness, tensors) == std::vector<std::size_t>{0});
  bench.device->write(tensors[0], 777'777'777, {&same, 1});
  CHECK(seal.changed(memory, bench.harness, tensors).empty());
  Buffer slack = tensors[1];
  slack.address += 4096;
  REQUIRE_FALSE(bench.run({poison_launch(bench.harness, slack, 9, 0)}).fault);  // the whole mapping
  CHECK(seal.changed(memory, bench.harness, tensors) == std::vector<std::size_t>{1});
}

TEST_CASE("gpu around: addresses differ from process to process, and no distance repeats") {
  KERNELITES_GPU_OR_SKIP(device);
  device.reset();
  std::set<std::uint64_t> addresses, distances;
  constexpr int k_processes = 3, k_buffers = 12;
  for (int i = 0; i < k_processes; ++i) {
    const Json reply = attack_in_child({{"kernel", "addresses"}, {"count", k_buffers}});
    REQUIRE(reply.contains("addresses"));
    const auto found = reply["addresses"].get<std::vector<std::uint64_t>>();
    WARN("process " << i << ": " << reply["addresses"].dump()
                    << ", hints taken: " << reply["reserve_us"].dump());
    for (std::size_t k = 0; k < found.size(); ++k) {
      addresses.insert(found[k]);
      if (k > 0) distances.insert(found[k] - found[k - 1]);
    }
  }
  CHECK(addresses.size() == k_processes * k_buffers);
  CHECK(distances.size() == k_processes * (k_buffers - 1));
}

TEST_CASE("gpu around: a launch cannot rewrite code") {
  KERNELITES_GPU_OR_SKIP(device);
  device.reset();
  for (const int really : {1, 2}) {
    const Json reply = attack_in_child({{"kernel", "write_code"}, {"really", really}});
    WARN((really == 1 ? "reading code: " : "writing code: ") << reply.dump());
    if (really == 2) CHECK(reply["is_intact"] == true);
  }
}

TEST_CASE(
    "gpu around: a discard destroys even a read-only input, which the seal sees: why the screen forbids it") {
  KERNELITES_GPU_OR_SKIP(device);
  device.reset();
  const Json reply = attack_in_child({{"kernel", "discard_lines"}});
  WARN("discard on a read-only mapping: " << reply.dump());
  CHECK(reply["reason"] == "");        // it does not fault
  CHECK(reply["is_intact"] == false);  // and what was written last is lost
}
