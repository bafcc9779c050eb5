// SPDX-License-Identifier: Apache-2.0
// Entry point of the device tests, and the executor that one of them starts as a child.
#include "evaluators/worker/device/device.h"
#include "evaluators/worker/sandbox/child.h"
#include "evaluators/worker/sandbox/jail.h"
#include "tests/support/run_catch.h"
#include "tests/unit/device/vgpu_kernels.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

/// In its jail: maps an output and an input that its parent shared, and runs `scale` over them.
int execute(Channel& channel) {
  const JailReport jail = enter_jail(vgpu_jail());
  const auto device = make_vgpu_device(1);
  auto order = channel.receive(30);
  if (!order) return 1;
  const auto count = order->body.get<std::uint32_t>();
  const Buffer out = device->map(order->descriptors.at(0).release(), count * 4, Access::read_write, "out");
  const Buffer in = device->map(order->descriptors.at(1).release(), count * 4, Access::read_only, "in");
  const BoundLaunch launch = scale_launch(load_vgpu_kernels(*device), out, in, count);
  const SequenceOutcome outcome = device->run({}, {&launch, 1}, RunMode::full, 20);
  Message reply;
  reply.body = {{"is_jailed", jail.is_sufficient()}, {"fault", outcome.fault ? outcome.fault->message : ""}};
  return channel.send(reply, 10) ? 0 : 1;
}

constexpr ChildRole k_roles[] = {{"execute", execute}};

}  // namespace

int main(int argc, char** argv) {
  run_child_role(argc, argv, k_roles);
  return run_catch(argc, argv);
}
