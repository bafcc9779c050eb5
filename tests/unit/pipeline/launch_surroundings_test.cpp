// SPDX-License-Identifier: Apache-2.0
// What surrounds a launch on the virtual GPU: places, workspaces that plans share, and seals of inputs.
#include "evaluators/worker/pipeline/launch_surroundings.h"

#include <optional>
#include <set>

#include "engine/core/error.h"
#include "evaluators/worker/nvrtc/compile.h"
#include "evaluators/worker/pipeline/harness_launch.h"
#include "evaluators/worker/pipeline/input_seal.h"
#include "tests/support/catch.h"
#include "tests/unit/device/vgpu_kernels.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

/// A virtual GPU with the harness's kernels, and plans that write 7 at the start of their first workspace.
struct Bench {
  Bench() : device(make_vgpu_device(1)) {
    const CompileOutput output = compile_in_process(
        open_nvrtc(find_toolkit({})), {.source = harness_source(),
                                       .options = {"-arch=compute_90", "--std=c++20", "-default-device"},
                                       .ptx_only = true});
    if (!output.ok) throw Error(output.log);
    kernels = device->load({.ptx = k_vgpu_kernels_ptx, .cubin = {}});
    surroundings.emplace(*device, device->load({.ptx = output.ptx, .cubin = {}}));
  }

  std::string run(const Workspace& workspace) {
    LaunchPlan plan{.workspaces = {workspace}};
    plan.launches.push_back({.kernel = "poke", .arguments = {{.kind = ArgumentKind::workspace}}});
    const RunOutcome outcome = surroundings->run(
        {.plan = plan, .module = kernels, .lowered = {{"poke", "poke"}}, .tensors = {}, .written = {}});
    return outcome.fault ? outcome.fault->reason : "";
  }

  std::unique_ptr<Device> device;
  ModuleId kernels = 0;
  std::optional<LaunchSurroundings> surroundings;
};

}  // namespace

TEST_CASE("in three trials a tensor is at the start, at the end and amid, and neighbours are not alike") {
  std::vector<Buffer> tensors;
  for (std::uint64_t i = 1; i <= 3; ++i)
    tensors.push_back(
        {.address = i << 30, .bytes = 1000, .name = "t", .mapped_address = i << 30, .mapped_bytes = 2 << 20});
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    std::set<std::uint64_t> places;
    for (std::uint64_t trial = 0; trial < 3; ++trial)
      places.insert(placed_tensors(tensors, trial)[i].address - tensors[i].address);
    CHECK(places.size() == 3);
  }
  const auto lie = placed_tensors(tensors, 5);
  CHECK(lie[0].address - tensors[0].address != lie[1].address - tensors[1].address);
}

TEST_CASE("plans of one executor have workspaces of their own sizes, larger or smaller than the one before") {
  Bench bench;
  CHECK(bench.run({.bytes = 4096}) == "");
  CHECK(bench.run({.bytes = 2}) == "out_of_bounds");  // four bytes are written
  CHECK(bench.run({.bytes = 4}) == "");
  CHECK(bench.run({.bytes = 1 << 20}) == "");
}

TEST_CASE("a self-clearing workspace that is left is told, and is zero again for the next launch") {
  Bench bench;
  CHECK(bench.run({.bytes = 64, .kind = WorkspaceKind::self_clearing}) == "workspace_not_cleared");
  CHECK(bench.run({.bytes = 64, .kind = WorkspaceKind::zeroed}) == "");
  CHECK(bench.run({.bytes = 64, .kind = WorkspaceKind::self_clearing}) == "workspace_not_cleared");
}

TEST_CASE("a seal names the inputs of which any byte changed") {
  const auto device = make_vgpu_device(1);
  std::vector<Buffer> tensors;
  for (const std::int64_t bytes : {3, 4096, 3 << 20}) tensors.push_back(device->allocate(bytes, "t"));
  for (const Buffer& tensor : tensors) device->fill(tensor, 1);
  ScratchMemory memory(*device);
  const InputSeal seal(memory, 0, tensors, {0, 2});
  CHECK(seal.changed(memory, 0, tensors).empty());
  const std::byte other{2};
  device->write(tensors[1], 5, {&other, 1});  // no input
  CHECK(seal.changed(memory, 0, tensors).empty());
  device->write(tensors[0], 2, {&other, 1});
  device->write(tensors[2], (3 << 20) - 1, {&other, 1});
  CHECK(seal.changed(memory, 0, tensors) == std::vector<std::size_t>{0, 2});
}
