// SPDX-License-Identifier: Apache-2.0
// Plans of the seeds, and of honest candidates, go as code.
#include <fmt/format.h>

#include <cstdio>

#include "engine/core/json.h"
#include "tests/support/catch.h"
#include "tests/unit/exporting/library_candidate.h"
#include "tools/exporting/export_session.h"
#include "tools/exporting/host_plan.h"
#include "tools/exporting/host_proof.h"

using namespace kernelites;
namespace fs = std::filesystem;

namespace {

const fs::path k_seeds = fs::path(KERNELITES_SOURCE_DIR) / "kernels_seed";

std::vector<fs::path> kernels_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().extension() == ".cu") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

Task task_of(const fs::path& seed) {
  return load_task(fs::path(KERNELITES_SOURCE_DIR) / "tasks" / seed.parent_path().filename());
}

/// How many of `shapes` shapes have the evaluated plan, or why there is no code.
std::string compared(const fs::path& file, std::size_t shapes) {
  const Task task = task_of(file);
  Portfolio portfolio;
  portfolio.arms = {library_arm("arm_0", 1, read_text(file).c_str())};
  const auto plan = host_plan(task, portfolio.arms[0]);
  if (const auto* problem = std::get_if<ClosureProblem>(&plan)) return problem->words;
  const auto batches = proof_batches(task, domain_of(task, {}), portfolio.arms[0].provenance.device, shapes);
  const auto host = host_digests(task, "arm_0", std::get<std::string>(plan), "c++", batches);
  if (const auto* problem = std::get_if<HostProblem>(&host)) return problem->words;
  const fs::path worker = fs::path(KERNELITES_BUILD_DIR) / "evaluators" / "worker" / "kernelites-worker";
  const LibraryCode code = compile_library({.task = task,
                                            .portfolio = portfolio,
                                            .architectures = {},
                                            .tables = {},
                                            .scalars = {},
                                            .proof = batches,
                                            .device = portfolio.arms[0].provenance.device,
                                            .has_test = false},
                                           worker, "");
  return code.arms.at(0).proof == std::get<PlanDigests>(host) ? "" : "plans differ";
}

}  // namespace

TEST_CASE("the plan of every seed, and of every honest candidate, goes as code") {
  int seeds = 0, honest = 0;
  for (const fs::path& file : kernels_in(k_seeds)) {
    INFO(file.filename());
    const auto plan = host_plan(task_of(file), library_arm("arm_0", 1, read_text(file).c_str()));
    const auto* problem = std::get_if<ClosureProblem>(&plan);
    INFO((problem == nullptr ? "" : problem->words));
    CHECK(problem == nullptr);
    ++seeds;
  }
  for (const fs::path& file : kernels_in(fs::path(KERNELITES_SOURCE_DIR) / "tests" / "exploits" / "honest")) {
    INFO(file.filename());
    const auto plan = host_plan(library_task(), library_arm("arm_0", 1, read_text(file).c_str()));
    const auto* problem = std::get_if<ClosureProblem>(&plan);
    INFO((problem == nullptr ? "" : problem->words));
    CHECK(problem == nullptr);
    ++honest;
  }
  CHECK(seeds >= 59);
  CHECK(honest >= 37);
}

// By hand, some minutes: exporting_tests "[seeds]" prints the table of docs/export.md.
TEST_CASE("the plan of every seed as code is the evaluated one at 500 shapes", "[.][seeds]") {
  for (const fs::path& file : kernels_in(k_seeds)) {
    const std::string words = compared(file, 500);
    std::printf("%s/%s: %s\n", file.parent_path().filename().c_str(), file.filename().c_str(),
                words.empty() ? "the same at 500 shapes" : words.c_str());
    std::fflush(stdout);
    CHECK(words == "");
  }
}
