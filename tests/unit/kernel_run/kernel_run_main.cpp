// SPDX-License-Identifier: Apache-2.0
// Entry point of the kernel_run tests: they start this program again as compile children.
#include "evaluators/worker/nvrtc/compile_child.h"
#include "evaluators/worker/sandbox/child.h"
#include "tests/support/run_catch.h"

namespace {

constexpr kernelites::worker::ChildRole k_roles[] = {
    {kernelites::worker::k_compile_role, kernelites::worker::compile_child_main},
};

}  // namespace

int main(int argc, char** argv) {
  kernelites::worker::run_child_role(argc, argv, k_roles);
  return kernelites::run_catch(argc, argv);
}
