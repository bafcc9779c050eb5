// SPDX-License-Identifier: Apache-2.0
// Blocks per SM by the published limits.
#include "engine/variation/profile_text.h"
#include "tests/support/catch.h"

using namespace kernelites;

TEST_CASE("blocks per SM follow the published limits") {
  DeviceFacts device;  // sm_90: 65536 registers, 227 KiB a block, 2048 threads
  const auto blocks = [&](int registers, std::uint32_t threads, std::uint32_t shared) {
    const KernelResources kernel{.registers = registers};
    PlannedLaunch launch;
    launch.block = {threads, 1, 1};
    launch.shared_bytes = shared;
    return occupancy_of(kernel, launch, device);
  };
  CHECK(blocks(32, 1024, 0).blocks_per_sm == 2);
  CHECK(blocks(32, 1024, 0).limit == "threads");
  CHECK(blocks(128, 128, 0).blocks_per_sm == 4);
  CHECK(blocks(128, 128, 0).limit == "registers");
  CHECK(blocks(32, 128, 100 * 1024).blocks_per_sm == 2);
  CHECK(blocks(32, 128, 100 * 1024).limit == "shared memory");
  CHECK(blocks(16, 32, 0).blocks_per_sm == 32);
  CHECK(blocks(16, 32, 0).limit == "blocks");
}
