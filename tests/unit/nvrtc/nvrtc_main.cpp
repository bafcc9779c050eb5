// SPDX-License-Identifier: Apache-2.0
// Entry point of the nvrtc tests: they start this program again as compile children.
#define CATCH_CONFIG_RUNNER
#include "tests/support/catch.h"

#include "evaluators/worker/nvrtc/compile_child.h"
#include "evaluators/worker/sandbox/child.h"

namespace {

/// Children that end or hang instead of answering, to see that the supervisor names it.
int crash(kernelites::worker::Channel& channel) {
  (void)channel.receive(20);
  (void)channel.send({.body = {{"ready", true}}, .payload = {}, .descriptors = {}}, 20);
  (void)channel.receive(20);
  __builtin_trap();
}

constexpr kernelites::worker::ChildRole k_roles[] = {
    {kernelites::worker::k_compile_role, kernelites::worker::compile_child_main},
    {"crash", crash},
};

}  // namespace

// The definition of main in a program of its own takes precedence over the support library's.
int main(int argc, char** argv) {
  kernelites::worker::run_child_role(argc, argv, k_roles);
  return Catch::Session().run(argc, argv);
}
