// SPDX-License-Identifier: Apache-2.0
// Entry point of the pipeline tests: they start this program again to launch alone, and as the children of stations.
#include "evaluators/worker/pipeline/executor.h"
#include "evaluators/worker/pipeline/lone_launch.h"
#include "evaluators/worker/pipeline/referee.h"
#include "evaluators/worker/sandbox/child.h"
#include "tests/support/run_catch.h"

namespace {

constexpr kernelites::worker::ChildRole k_roles[] = {
    {kernelites::worker::k_lone_role, kernelites::worker::lone_launch_main},
    {"executor", kernelites::worker::executor_main},
    {"referee", kernelites::worker::referee_main},
};

}  // namespace

int main(int argc, char** argv) {
  kernelites::worker::run_child_role(argc, argv, k_roles);
  return kernelites::run_catch(argc, argv);
}
