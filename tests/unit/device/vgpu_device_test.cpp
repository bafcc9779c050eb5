// SPDX-License-Identifier: Apache-2.0
// The virtual GPU behind the device seam: shared memory, faults, and what timing mode leaves out.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>

#include "engine/core/device_names.h"
#include "engine/core/error.h"
#include "evaluators/worker/device/device.h"
#include "evaluators/worker/device/virtual_profile.h"
#include "evaluators/worker/sandbox/child.h"
#include "tests/support/catch.h"
#include "tests/unit/device/vgpu_kernels.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

constexpr std::uint32_t k_count = 100 * 128;

std::vector<float> floats(Device& device, const Buffer& buffer) {
  std::vector<float> values(static_cast<std::size_t>(buffer.bytes) / 4);
  device.read(buffer, 0, std::as_writable_bytes(std::span(values)));
  return values;
}

Buffer ones(Device& device, const std::string& name, std::uint32_t count = k_count) {
  const Buffer buffer = device.allocate(count * 4, name);
  const std::vector<float> values(count, 1.0f);
  device.write(buffer, 0, std::as_bytes(std::span(values)));
  return buffer;
}

SequenceOutcome run_one(Device& device, const BoundLaunch& launch, RunMode mode = RunMode::full,
                        double deadline_s = 20) {
  return device.run({}, {&launch, 1}, mode, deadline_s);
}

void check_fault(const SequenceOutcome& outcome, const std::string& reason, const std::string& word) {
  REQUIRE(outcome.fault);
  INFO(outcome.fault->message);
  CHECK(outcome.fault->reason == reason);
  CHECK(outcome.fault->message.find(word) != std::string::npos);
}

std::size_t resident_mib() {
  std::size_t total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) >> 20;
}

/// How many values `scale` has written.
std::size_t written(Device& device, const Buffer& out) {
  const auto values = floats(device, out);
  return static_cast<std::size_t>(std::count(values.begin(), values.end(), 2.0f));
}

}  // namespace

TEST_CASE("a launch on the virtual GPU computes and has a modelled time") {
  const auto device = make_vgpu_device(2);
  const Buffer in = ones(*device, "in"), out = device->allocate(k_count * 4, "out");
  const SequenceOutcome outcome =
      run_one(*device, scale_launch(load_vgpu_kernels(*device), out, in, k_count));
  REQUIRE_FALSE(outcome.fault);
  CHECK(written(*device, out) == k_count);
  CHECK(outcome.elapsed_us > 0);
  CHECK(device->facts().is_virtual);
}

TEST_CASE("a jailed child computes on memory that this process shared") {
  const auto device = make_vgpu_device(1);
  const Buffer in = ones(*device, "in"), out = device->allocate(k_count * 4, "out");
  Child child = Child::start("execute", {.file_bytes = UINT64_MAX, .open_files = 64});
  Message order;
  order.body = k_count;
  order.descriptors.emplace_back(device->share(out));
  order.descriptors.emplace_back(device->share(in));
  REQUIRE(child.channel().send(order, 10));
  const auto reply = child.channel().receive(30);
  REQUIRE(reply);
  CHECK(reply->body["is_jailed"] == true);
  CHECK(reply->body["fault"] == "");
  CHECK(written(*device, out) == k_count);
}

TEST_CASE("a read-only mapping faults on a kernel's write, refuses the host's, and stays intact") {
  const auto referee = make_vgpu_device(1), executor = make_vgpu_device(1);
  const Buffer in = ones(*referee, "in");
  const Buffer mapped = executor->map(referee->share(in), in.bytes, Access::read_only, "tensor in");
  const auto module = load_vgpu_kernels(*executor);
  check_fault(run_one(*executor, vgpu_launch(module, "poke", {vgpu_argument(mapped.address)})),
              "read_only_write", "tensor in");
  CHECK_THROWS_AS(executor->fill(mapped, 1), Error);
  CHECK(floats(*referee, in) == std::vector<float>(k_count, 1.0f));
}

TEST_CASE("memory that is mapped longer than it is is refused") {
  const auto referee = make_vgpu_device(1), executor = make_vgpu_device(1);
  const Buffer in = ones(*referee, "in");
  CHECK_THROWS_AS(executor->map(referee->share(in), in.bytes + 1, Access::read_only, "in"), Error);
}

TEST_CASE("shared memory cannot be shortened by those it is shared with") {
  const auto device = make_vgpu_device(1);
  const FileDescriptor shared(device->share(ones(*device, "in")));
  CHECK(::ftruncate(shared.get(), 0) != 0);
}

TEST_CASE("an access beyond a buffer names it") {
  const auto device = make_vgpu_device(1);
  const Buffer out = device->allocate(64, "tensor out");
  check_fault(
      run_one(*device, vgpu_launch(load_vgpu_kernels(*device), "poke", {vgpu_argument(out.address + 64)})),
      "out_of_bounds", "tensor out");
}

TEST_CASE("a fault names the kernel as its plan does") {
  const auto device = make_vgpu_device(1);
  const Buffer out = device->allocate(64, "out");
  BoundLaunch launch = vgpu_launch(load_vgpu_kernels(*device), "poke", {vgpu_argument(out.address + 64)});
  launch.plan.kernel = "store<int, 7>";
  check_fault(run_one(*device, launch), "out_of_bounds", "in kernel store<int, 7>");
}

TEST_CASE("reading what counts as unwritten is a fault until it is written") {
  const auto device = make_vgpu_device(1);
  const Buffer in = ones(*device, "in"), out = device->allocate(k_count * 4, "out");
  const BoundLaunch launch = scale_launch(load_vgpu_kernels(*device), out, in, k_count);
  device->mark_unwritten(in);
  check_fault(run_one(*device, launch), "uninitialised", "in");
  device->fill(in, 0);
  CHECK_FALSE(run_one(*device, launch).fault);
}

TEST_CASE("timing mode runs a sample of the blocks and models the whole launch") {
  const auto device = make_vgpu_device(1);
  const Buffer in = ones(*device, "in"), out = device->allocate(k_count * 4, "out");
  device->fill(out, 0);
  const BoundLaunch launch = scale_launch(load_vgpu_kernels(*device), out, in, k_count);
  const SequenceOutcome sampled = run_one(*device, launch, RunMode::timing);
  REQUIRE_FALSE(sampled.fault);
  // Sixteen blocks, and before them four that might have been enough.
  CHECK(written(*device, out) >= 16 * 128);
  CHECK(written(*device, out) <= 20 * 128);
  const SequenceOutcome full = run_one(*device, launch, RunMode::full);
  CHECK(sampled.elapsed_us == Approx(full.elapsed_us).epsilon(0.05));
}

TEST_CASE("blocks that draw the work of all stand for no launch, and those that only count have a time") {
  const auto device = make_vgpu_device(1);
  const Buffer counter = device->allocate(4, "counter");
  BoundLaunch launch = vgpu_launch(load_vgpu_kernels(*device), "draw",
                                   {vgpu_argument(counter.address), vgpu_argument(std::uint32_t{0})});
  launch.plan.grid = {132, 1, 1};
  device->fill(counter, 0);
  CHECK_FALSE(run_one(*device, launch, RunMode::timing).fault);
  for (const std::uint32_t numbers : {5'000u, 1'000'000u}) {  // less than is enough for a time, and more
    launch.arguments[1] = vgpu_argument(numbers);
    device->fill(counter, 0);
    check_fault(run_one(*device, launch, RunMode::timing), "budget_exceeded", "the work of all");
  }
}

TEST_CASE("every device that a user may name has a profile, and times and limits are its own") {
  for (const std::string& name : device_names()) {
    if (device_kind(name) != "vgpu") continue;
    const VirtualProfile profile = virtual_profile(device_profile(name));
    CHECK(profile.facts.sm_count == static_cast<int>(profile.times->sms));
  }
  CHECK_THROWS_AS(virtual_profile("abacus"), Error);
}

TEST_CASE(
    "a real device has the profile of its kind, and another memory or fewer multiprocessors have none") {
  const auto profile = [](const char* kind) { return profile_of({.kind = kind}); };
  CHECK(profile("NVIDIA H100 80GB HBM3") == "h100");
  CHECK(profile("vgpu (models H100)") == "h100");
  CHECK(profile("NVIDIA GeForce RTX 4090") == "rtx4090");
  for (const char* other : {"NVIDIA H100 PCIe", "NVIDIA H100 NVL", "NVIDIA H200", "NVIDIA A100-SXM4-80GB"})
    CHECK(profile(other).empty());
  const auto time_on = [](Device& device) {
    const Buffer in = ones(device, "in"), out = device.allocate(k_count * 4, "out");
    return run_one(device, scale_launch(load_vgpu_kernels(device), out, in, k_count)).elapsed_us;
  };
  const auto h100 = make_vgpu_device(1);
  const auto consumer = make_vgpu_like(virtual_profile("rtx4090"), 1, {});
  CHECK(consumer->facts().architecture == "sm_89");
  CHECK(time_on(*consumer) != time_on(*h100));
}

TEST_CASE("timing mode runs a launch of few blocks in full") {
  const auto device = make_vgpu_device(1);
  const Buffer in = ones(*device, "in", 1000), out = device->allocate(4000, "out");
  REQUIRE_FALSE(
      run_one(*device, scale_launch(load_vgpu_kernels(*device), out, in, 1000), RunMode::timing).fault);
  CHECK(written(*device, out) == 1000);
}

TEST_CASE("only the timed launches count") {
  const auto device = make_vgpu_device(1);
  const Buffer in = ones(*device, "in"), out = device->allocate(k_count * 4, "out");
  const BoundLaunch launch = scale_launch(load_vgpu_kernels(*device), out, in, k_count);
  const std::vector<BoundLaunch> three(3, launch);
  const double once = run_one(*device, launch).elapsed_us;
  CHECK(device->run(three, {&launch, 1}, RunMode::full, 20).elapsed_us == Approx(once));
  CHECK(device->run({}, three, RunMode::full, 20).elapsed_us == Approx(3 * once));
}

TEST_CASE("a kernel that does not end is a fault soon after its deadline") {
  const auto device = make_vgpu_device(1);
  const Buffer flag = device->allocate(4, "flag");
  const auto start = std::chrono::steady_clock::now();
  const SequenceOutcome outcome =
      run_one(*device, vgpu_launch(load_vgpu_kernels(*device), "spin", {vgpu_argument(flag.address)}),
              RunMode::full, 0.05);
  check_fault(outcome, "budget_exceeded", "spin");
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
}

TEST_CASE("a launch that cannot be is refused in words") {
  const auto device = make_vgpu_device(1);
  const auto module = load_vgpu_kernels(*device);
  check_fault(run_one(*device, vgpu_launch(module, "missing", {})), "invalid_launch", "no kernel");
  check_fault(run_one(*device, vgpu_launch(module, "poke", {})), "invalid_launch", "0 arguments");
  check_fault(run_one(*device, vgpu_launch(module, "poke", {vgpu_argument(7)})), "invalid_launch", "8 bytes");
}

TEST_CASE("a large buffer costs nothing until it is touched, and zeroing gives it back") {
  const auto device = make_vgpu_device(1);
  const std::size_t before = resident_mib();
  const Buffer large = device->allocate(std::int64_t{2} << 30, "large");
  device->fill(large, 0);
  CHECK(resident_mib() < before + 64);
  const std::byte one{1};
  device->write(large, large.bytes - 1, {&one, 1});
  device->fill(large, 0);
  std::byte back{9};
  device->read(large, large.bytes - 1, {&back, 1});
  CHECK(back == std::byte{0});
}

TEST_CASE("a released buffer is gone for host and kernels") {
  const auto device = make_vgpu_device(1);
  const Buffer out = device->allocate(64, "tensor out");
  device->release(out);
  CHECK_THROWS_AS(device->fill(out, 0), Error);
  check_fault(run_one(*device, vgpu_launch(load_vgpu_kernels(*device), "poke", {vgpu_argument(out.address)})),
              "out_of_bounds", "");
}

TEST_CASE("what a programmatic launch reads before it waits is not there yet") {
  // The kernel `copy` waits between load and store, the kernel `late` before both.
  const std::string body = R"(
  .reg .b32 %r<2>; .reg .b64 %rd<3>;
  ld.param.u64 %rd1, [out]; ld.param.u64 %rd2, [in];
)";
  const std::string early = "ld.global.u32 %r1, [%rd2];\n", wait = "griddepcontrol.wait;\n",
                    rest = "st.global.u32 [%rd1], %r1; ret; }\n",
                    head = "(.param .u64 out, .param .u64 in) {" + body;
  const auto device = make_vgpu_device(1);
  const auto poke = load_vgpu_kernels(*device);
  const auto module =
      device->load({.ptx = ".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry copy" + head +
                           early + wait + rest + ".visible .entry late" + head + wait + early + rest});
  const Buffer between = device->allocate(4, "between"), out = device->allocate(4, "out");
  const auto outcome = [&](const std::string& kernel, bool is_programmatic) {
    device->mark_unwritten(between);
    auto second = vgpu_launch(module, kernel, {vgpu_argument(out.address), vgpu_argument(between.address)});
    second.plan.is_programmatic = is_programmatic;
    const std::vector<BoundLaunch> launches{vgpu_launch(poke, "poke", {vgpu_argument(between.address)}),
                                            second};
    return device->run({}, launches, RunMode::full, 20);
  };
  CHECK_FALSE(outcome("copy", false).fault);
  CHECK_FALSE(outcome("late", true).fault);
  check_fault(outcome("copy", true), "uninitialised", "griddepcontrol.wait");
}

TEST_CASE("programmatic launches meet all that may run beside them") {
  // `over` writes before it waits; `idle` lets the next begin and waits only if told to; `early` reads before it waits.
  const std::string
      head =
          "(.param .u64 out, .param .u64 in) {\n.reg .b32 %r<2>; .reg .b64 %rd<3>; .reg .pred p;\n"
          "ld.param.u64 %rd1, [out]; ld.param.u64 %rd2, [in]; setp.ne.u64 p, %rd1, %rd2;\n",
      wait = "griddepcontrol.wait;\n", read = "ld.global.u32 %r1, [%rd2];\n",
      write = "st.global.u32 [%rd1], 5;\n", end = "ret; }\n";
  const auto device = make_vgpu_device(1);
  const auto poke = load_vgpu_kernels(*device);
  const auto module =
      device->load({.ptx = ".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry over" + head +
                           write + wait + end + ".visible .entry idle" + head +
                           "griddepcontrol.launch_dependents;\n@p " + wait + end + ".visible .entry late" +
                           head + wait + read + end + ".visible .entry early" + head + read + wait + end});
  const Buffer between = device->allocate(4, "between"), other = device->allocate(4, "other");
  const auto later = [&](const char* kernel, const Buffer& out, const Buffer& in) {
    auto launch = vgpu_launch(module, kernel, {vgpu_argument(out.address), vgpu_argument(in.address)});
    launch.plan.is_programmatic = true;
    return launch;
  };
  const auto outcome = [&](std::vector<BoundLaunch> launches) {
    device->mark_unwritten(between);
    device->mark_unwritten(other);
    launches.insert(launches.begin(), vgpu_launch(poke, "poke", {vgpu_argument(between.address)}));
    return device->run({}, launches, RunMode::full, 20);
  };
  const BoundLaunch waits = later("idle", other, between), never_waits = later("idle", other, other);
  CHECK_FALSE(outcome({later("over", other, between)}).fault);
  check_fault(outcome({later("over", between, other)}), "race", "writes to between before");
  CHECK_FALSE(outcome({never_waits}).fault);
  CHECK_FALSE(outcome({waits, later("late", other, between)}).fault);
  check_fault(outcome({never_waits, later("late", other, between)}), "race", "no thread of 'idle'");
  check_fault(outcome({waits, later("early", other, between)}), "uninitialised", "griddepcontrol.wait");
  CHECK_FALSE(outcome({later("late", other, between), later("early", other, between)}).fault);
}
