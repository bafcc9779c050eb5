// SPDX-License-Identifier: Apache-2.0
// Waiting for a station: it ends, those who asked first come first, and a batch has patience.
#include "evaluators/worker/pipeline/station.h"

#include <chrono>
#include <future>
#include <thread>

#include "engine/core/error.h"
#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

TEST_CASE("who waits for a station that does not become free is told so at the deadline") {
  StationPool pool({.kind = "vgpu"}, DeviceFacts{}, 0);
  const auto start = std::chrono::steady_clock::now();
  CHECK_THROWS_AS(pool.take(0.05), Error);
  CHECK(std::chrono::steady_clock::now() - start >= std::chrono::milliseconds(50));
}

TEST_CASE(
    "who waits for its turn in a batch gets it, however short its deadline, and is told how long it waited") {
  const ModuleImage harness{.ptx = ".version 8.0\n.target sm_90a\n.address_size 64\n", .cubin = {}};
  StationPool pool({.kind = "vgpu", .harness = &harness}, DeviceFacts{}, 1, /*waits_for_turn=*/true);
  auto first = std::make_optional(pool.take(0.01));
  std::vector<std::future<double>> others;
  for (int i = 0; i < 3; ++i) {
    others.push_back(std::async(std::launch::async, [&pool] {
      const StationPool::Lease lease = pool.take(0.01);
      return std::chrono::duration<double>(lease.forgiven()).count();
    }));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  first.reset();
  for (auto& other : others) CHECK(other.get() >= 0.05);
}

TEST_CASE("stations go to those who asked first") {
  const ModuleImage harness{.ptx = ".version 8.0\n.target sm_90a\n.address_size 64\n", .cubin = {}};
  StationPool pool({.kind = "vgpu", .harness = &harness}, DeviceFacts{}, 1);
  auto first = std::make_optional(pool.take(1));
  std::mutex mutex;
  std::vector<int> order;
  std::vector<std::future<void>> others;
  for (int i = 0; i < 4; ++i) {
    others.push_back(std::async(std::launch::async, [&, i] {
      const StationPool::Lease lease = pool.take(30);
      const std::lock_guard lock(mutex);
      order.push_back(i);
    }));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // so that it has asked before the next one
  }
  first.reset();
  for (auto& other : others) other.get();
  CHECK(order == std::vector<int>{0, 1, 2, 3});
}
