// SPDX-License-Identifier: Apache-2.0
// The real device in two processes: shared memory, read-only inputs, guards, hangs, and the jail.
#include <chrono>

#include "evaluators/worker/sandbox/child.h"
#include "tests/gpu/gpu_support.h"
#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

constexpr std::int64_t k_bytes = std::int64_t{4} << 20;

/// Has a child run `kernel` over `tensors`, shared from this process's device; its reply.
struct Order {
  std::string kernel;
  std::vector<Buffer> tensors;
  std::vector<bool> is_writable;
  std::string jail = "after";
  double deadline_s = 20;
  std::uint64_t offset = 0;
  Json numbers = Json::array();
  int blocks = 1;
};

Json execute(Device& device, const Order& order) {
  Child child = Child::start("execute", {.file_bytes = 0, .open_files = 1024});
  Message message;
  message.body = {{"kernel", order.kernel},  {"jail", order.jail},       {"deadline_s", order.deadline_s},
                  {"offset", order.offset},  {"numbers", order.numbers}, {"blocks", order.blocks},
                  {"tensors", Json::array()}};
  for (std::size_t i = 0; i < order.tensors.size(); ++i) {
    message.body["tensors"].push_back(
        {{"bytes", order.tensors[i].bytes}, {"writable", bool(order.is_writable[i])}});
    message.descriptors.emplace_back(device.share(order.tensors[i]));
  }
  REQUIRE(child.channel().send(message, 30));
  const auto reply = child.channel().receive(60);
  if (!reply) {
    child.kill();
    const auto end = child.wait(30);
    return {{"reason", "child_ended"}, {"message", end ? end->words : "cannot be reaped"}};
  }
  return reply->body;
}

Buffer filled(Device& device, const std::string& name, std::uint8_t value) {
  const Buffer buffer = device.allocate(k_bytes, name);
  device.fill(buffer, value);
  return buffer;
}

/// This process's context still launches and copies.
void check_healthy(Device& device) {
  const Buffer buffer = device.allocate(4, "probe");
  CHECK_FALSE(run_one(device, launch_of(load_kernels(device), "poke", {argument(buffer.address)})).fault);
  CHECK(read_all<std::uint32_t>(device, buffer, 1)[0] == 7);
  device.release(buffer);
}

void check_computes(const std::string& jail) {
  KERNELITES_GPU_OR_SKIP(device);
  constexpr std::uint32_t n = 1024;
  const Buffer in = filled(*device, "in", 0), out = filled(*device, "out", 0);
  write_all(*device, in, std::vector<float>(n, 3.0f));
  const Json reply = execute(*device, {.kernel = "scale",
                                       .tensors = {out, in},
                                       .is_writable = {true, false},
                                       .jail = jail,
                                       .numbers = {n, 0.5f},
                                       .blocks = 4});
  INFO(reply.dump());
  REQUIRE(reply["reason"] == "");
  if (jail != "none") CHECK(reply["is_jailed"] == true);
  CHECK(read_all<float>(*device, out, n) == std::vector<float>(n, 6.5f));
}

}  // namespace

TEST_CASE("gpu: a child computes on memory that this process shared") { check_computes("none"); }

TEST_CASE("gpu: an executor that entered the jail after its context computes as well") {
  check_computes("after");
}

TEST_CASE("gpu: an input that is mapped read-only faults on write and stays intact") {
  KERNELITES_GPU_OR_SKIP(device);
  const Buffer in = filled(*device, "in", 5);
  const Json reply = execute(*device, {.kernel = "poke", .tensors = {in}, .is_writable = {false}});
  INFO(reply.dump());
  CHECK(reply["reason"] == "illegal_address");
  CHECK(read_all<std::uint8_t>(*device, in, 4) == std::vector<std::uint8_t>(4, 5));
  check_healthy(*device);
}

TEST_CASE("gpu: the same write goes through where the mapping is writable") {
  KERNELITES_GPU_OR_SKIP(device);
  const Buffer out = filled(*device, "out", 5);
  CHECK(execute(*device, {.kernel = "poke", .tensors = {out}, .is_writable = {true}})["reason"] == "");
  CHECK(read_all<std::uint32_t>(*device, out, 1)[0] == 7);
}

TEST_CASE("gpu: a write beyond the mapping hits the guard") {
  KERNELITES_GPU_OR_SKIP(device);
  const Buffer out = filled(*device, "out", 5);
  const auto first = static_cast<std::int64_t>(out.mapped_address - out.address);
  const std::int64_t end = first + out.mapped_bytes, far = std::int64_t{60} << 20;
  for (const std::int64_t offset : {end, end + far, first - 4, first - far}) {
    const Json reply = execute(*device, {.kernel = "poke",
                                         .tensors = {out},
                                         .is_writable = {true},
                                         .offset = static_cast<std::uint64_t>(offset)});
    INFO("offset " << offset << ": " << reply.dump());
    CHECK(reply["reason"] == "illegal_address");
  }
  check_healthy(*device);
}

TEST_CASE("gpu: a kernel that does not end is a fault at its deadline, and only its process is lost") {
  KERNELITES_GPU_OR_SKIP(device);
  const Buffer flag = filled(*device, "flag", 0);
  const auto start = std::chrono::steady_clock::now();
  const Json reply =
      execute(*device, {.kernel = "spin", .tensors = {flag}, .is_writable = {true}, .deadline_s = 1});
  const double elapsed_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  WARN("deadline of 1 s: the child was gone after " << elapsed_s << " s");
  INFO(reply.dump());
  CHECK(reply["reason"] == "deadline");
  CHECK(elapsed_s < 20);
  check_healthy(*device);
}

TEST_CASE("gpu: entering the jail before the driver starts") {
  // Not how executors start; whether a driver takes it tells how much the jail could cover.
  KERNELITES_GPU_OR_SKIP(device);
  const Buffer out = filled(*device, "out", 5);
  const Json reply =
      execute(*device, {.kernel = "poke", .tensors = {out}, .is_writable = {true}, .jail = "before"});
  WARN("jail before the driver: " << reply.dump());
  check_healthy(*device);
}
