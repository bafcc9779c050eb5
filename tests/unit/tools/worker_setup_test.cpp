// SPDX-License-Identifier: Apache-2.0
// Whose program a launched worker is.
#include "tools/worker_setup.h"

#include "engine/core/error.h"
#include "tests/support/catch.h"

using namespace kernelites;
using Catch::Contains;

namespace {

WorkerLaunch group_by(std::vector<std::string> launch, std::string program = {}) {
  return {.launch = std::move(launch), .program = std::move(program), .count = 1};
}

}  // namespace

TEST_CASE("a group that is launched elsewhere and names no program is refused, whatever the others do") {
  WorkerSettings settings;
  settings.groups = {group_by({}), group_by({"ssh", "node7"})};
  CHECK_THROWS_WITH(worker_program(settings, "/nowhere/kernelites"),
                    Contains("workers.groups") && Contains("\"ssh node7\" and names no program"));
  settings.groups[1].program = "/opt/kernelites-worker";
  settings.groups.push_back(group_by({"srun"}));
  CHECK_THROWS_WITH(worker_program(settings, "/nowhere/kernelites"), Contains("srun"));
}

TEST_CASE("groups that each name a program need none beside them") {
  WorkerSettings settings;
  settings.groups = {group_by({"ssh", "a"}, "/a/worker"), group_by({"ssh", "b"}, "/b/worker")};
  CHECK(worker_program(settings, "/nowhere/kernelites").empty());
}

TEST_CASE("a launch prefix needs the path of the worker there") {
  WorkerSettings settings;
  settings.launch = {"ssh", "node7"};
  CHECK_THROWS_WITH(worker_program(settings, "/nowhere/kernelites"), Contains("is needed with --launch"));
  settings.program = "/opt/kernelites-worker";
  CHECK(worker_program(settings, "/nowhere/kernelites") == "/opt/kernelites-worker");
}
