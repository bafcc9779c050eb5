// SPDX-License-Identifier: Apache-2.0
// The project's own tasks and seeds: what the format cannot check about them.
#include <filesystem>
#include <functional>

#include "engine/core/candidate.h"
#include "engine/core/task.h"
#include "tests/support/catch.h"

using namespace kernelites;

namespace {

namespace fs = std::filesystem;

const fs::path k_tasks = fs::path(KERNELITES_SOURCE_DIR) / "tasks";
const fs::path k_seeds = fs::path(KERNELITES_SOURCE_DIR) / "kernels_seed";

/// Calls `check` for every task of the project. Fails if there is none.
void for_each_task(const std::function<void(const Task&)>& check) {
  const auto names = list_tasks(k_tasks);
  REQUIRE_FALSE(names.empty());
  for (const std::string& name : names) {
    INFO("task " << name);
    check(load_task(k_tasks / name));
  }
}

double ratio(const Workload& workload, const char* above, const char* below) {
  return static_cast<double>(workload.dims.at(above)) / static_cast<double>(workload.dims.at(below));
}

}  // namespace

TEST_CASE("every task of the project can be loaded") {
  for_each_task([](const Task& task) { CHECK_FALSE(task.digest.empty()); });
}

TEST_CASE("the tasks that measurement is proven with can be loaded") {
  const fs::path folder = fs::path(KERNELITES_SOURCE_DIR) / "tests" / "measure";
  const auto names = list_tasks(folder);
  CHECK(names.size() == 2);
  for (const std::string& name : names) CHECK_FALSE(load_task(folder / name).digest.empty());
}

TEST_CASE("check workloads are small enough for an interpreter") {
  for_each_task([](const Task& task) {
    for (const Workload& workload : task.check) {
      INFO(workload.name);
      for (const TensorSpec& tensor : task.tensors) CHECK(element_count(tensor, workload) <= 2'200'000);
    }
  });
}

TEST_CASE("every bench workload names where its shape comes from") {
  for_each_task([](const Task& task) {
    for (const Workload& workload : task.bench) CHECK_FALSE(workload.source.empty());
  });
}

TEST_CASE("no scalar has a default that a forgetful kernel would also have") {
  for_each_task([](const Task& task) {
    for (const ScalarSpec& scalar : task.scalars) {
      for (const double common : {0.0, 1.0, 1e-5, 1e-6, 0.08838834764, 0.125}) {
        CHECK(scalar.value != Approx(common).epsilon(0.01));
      }
    }
  });
}

TEST_CASE("every task has seeds whose tunables are well formed") {
  for_each_task([](const Task& task) {
    std::size_t seeds = 0;
    for (const auto& entry : fs::directory_iterator(k_seeds / task.name)) {
      INFO(entry.path());
      std::vector<std::string> problems;
      CHECK_FALSE(parse_tunables(read_text(entry.path()), &problems).empty());
      CHECK(problems == std::vector<std::string>{});
      ++seeds;
    }
    CHECK(seeds >= 2);
  });
}

TEST_CASE("query heads are a multiple of key-value heads in every decode workload") {
  const Task task = load_task(k_tasks / "gqa_decode_splitkv");
  for (const auto* workloads : {&task.check, &task.bench}) {
    for (const Workload& workload : *workloads) {
      CHECK(workload.dims.at("Hq") % workload.dims.at("Hkv") == 0);
      CHECK(ratio(workload, "Hq", "Hkv") <= 8);
    }
  }
  for (const HoldOutRange& range : task.hold_out) {
    const auto [heads, heads_again] = range.dims.at("Hq");
    CHECK(heads == heads_again);
    for (auto hkv = range.dims.at("Hkv").first; hkv <= range.dims.at("Hkv").second; ++hkv)
      CHECK(heads % hkv == 0);
  }
}

TEST_CASE("decode reads the keys and values of a full cache once") {
  const Task task = load_task(k_tasks / "gqa_decode_splitkv");
  const Workload& workload = *task.find_workload("llama3_8b_b64_s4k");
  const double cache = 2.0 * 2 * 64 * 4096 * 8 * 128;
  CHECK(roofline_counts(task, workload).bytes == Approx(cache).epsilon(0.002));
  CHECK(roofline_counts(task, workload, {{"len", 64 * 1024}}).bytes == Approx(cache / 4).epsilon(0.005));
}
