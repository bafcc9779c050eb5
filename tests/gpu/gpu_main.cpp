// SPDX-License-Identifier: Apache-2.0
// Entry point of the tests of the real device, and the executor that some of them start as a child.
#include <cstdio>
#include <cstdlib>

#include "evaluators/worker/sandbox/child.h"
#include "evaluators/worker/sandbox/jail.h"
#include "tests/gpu/gpu_attacks.h"
#include "tests/gpu/gpu_support.h"
#include "tests/support/run_catch.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

/// One order, one reply. The order: {"kernel", "jail": before|after|none, "deadline_s", "tensors": [{"bytes",
/// "writable"}], "offset"} with one descriptor per tensor; the kernel gets their addresses, the first moved
/// by offset.
int execute(Channel& channel) {
  const auto order = channel.receive(30);
  if (!order) return 1;
  const Json& body = order->body;
  Message reply;
  JailReport jail;
  if (body.at("jail") == "before") jail = enter_jail(gpu_jail());
  const auto device = make_gpu_device();
  if (body.at("jail") == "after") jail = enter_jail(gpu_jail());
  reply.body["jail"] = jail.describe();
  reply.body["is_jailed"] = jail.is_sufficient();

  std::vector<BoundArgument> arguments;
  for (std::size_t i = 0; i < body.at("tensors").size(); ++i) {
    const Json& tensor = body["tensors"][i];
    const Buffer buffer =
        device->map(::dup(order->descriptors.at(i).get()), tensor.at("bytes").get<std::int64_t>(),
                    tensor.at("writable").get<bool>() ? Access::read_write : Access::read_only, "tensor");
    arguments.push_back(argument(buffer.address + (i == 0 ? body.at("offset").get<std::uint64_t>() : 0)));
  }
  for (const Json& number : body.value("numbers", Json::array()))
    arguments.push_back(number.is_number_float() ? argument(number.get<float>())
                                                 : argument(number.get<std::uint32_t>()));
  const BoundLaunch launch = launch_of(load_kernels(*device), body.at("kernel").get<std::string>(), arguments,
                                       body.value("blocks", 1), 256);
  const SequenceOutcome outcome = run_one(*device, launch, body.at("deadline_s").get<double>());
  reply.body["reason"] = outcome.fault ? outcome.fault->reason : "";
  reply.body["message"] = outcome.fault ? outcome.fault->message : "";
  reply.body["elapsed_us"] = outcome.elapsed_us;
  if (!channel.send(reply, 30)) return 1;
  std::fflush(nullptr);
  std::_Exit(0);  // without giving the device back: after a hang that would block
}

/// One order to `attack`, one reply.
int attack_child(Channel& channel) {
  const auto order = channel.receive(30);
  if (!order) return 1;
  Message reply;
  reply.body = attack(order->body);
  if (!channel.send(reply, 30)) return 1;
  std::fflush(nullptr);
  std::_Exit(0);
}

constexpr ChildRole k_roles[] = {{"execute", execute}, {"attack", attack_child}};

}  // namespace

int main(int argc, char** argv) {
  run_child_role(argc, argv, k_roles);
  return run_catch(argc, argv);
}
