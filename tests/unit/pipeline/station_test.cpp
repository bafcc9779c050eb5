// SPDX-License-Identifier: Apache-2.0
// Waiting for a station ends.
#include "evaluators/worker/pipeline/station.h"

#include <chrono>

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
