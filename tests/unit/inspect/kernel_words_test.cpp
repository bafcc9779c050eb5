// SPDX-License-Identifier: Apache-2.0
// Every label in words, and the time model's error as the documentation has it.
#include "tools/inspect/kernel_words.h"

#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "tests/support/catch.h"
#include "tools/inspect/model_error.h"

using namespace kernelites;

TEST_CASE("every label of every axis says what it means") {
  for (const Axis& axis : axis_table())
    for (const std::string_view label : axis.labels) {
      INFO(label);
      CHECK(label_words(label).size() > label.size());
    }
  CHECK(label_words("no_such_label").empty());
}

TEST_CASE("a kernel is told axis by axis, then launch by launch") {
  const Descriptors descriptors{{"movement", "cp_async"}, {"compute", "mma_sync"}};
  const auto words = kernel_words(axes_named({}), descriptors);
  REQUIRE(words.size() == 2);
  CHECK(words[1] == "tensor cores multiply (mma.sync)");
  LaunchPlan plan;
  plan.launches = {{.kernel = "prepare_it", .is_prepare = true},
                   {.kernel = "split_kv<4>", .grid = {8, 2, 16}, .block = {32, 4, 1}},
                   {.kernel = "combine", .grid = {4, 1, 1}, .block = {64, 1, 1}}};
  CHECK(plan_words(plan) ==
        "2 launches: split_kv<4> on 256 blocks of 128 threads, combine on 4 blocks of 64 threads");
  CHECK(plan_words({}).empty());
}

TEST_CASE("the time model's errors are those of the documentation") {
  const std::ifstream file(KERNELITES_SOURCE_DIR "/docs/measurement.md");
  std::stringstream text;
  text << file.rdbuf();
  const std::string document = text.str();
  int times = 0;
  for (const ModelError& error : model_error_table()) {
    INFO(error.task);
    if (error.task.empty()) {
      CHECK(error.times == times);
      CHECK(document.find(fmt::format("mean abs(ln) {:.3f}.", error.mean_abs_log)) != std::string::npos);
      continue;
    }
    times += error.times;
    const std::size_t row = document.find(fmt::format("| {} | {} | ", error.task, error.times));
    REQUIRE(row != std::string::npos);
    const std::string line = document.substr(row, document.find('\n', row) - row);
    CHECK(line.ends_with(fmt::format("| {:.2f} |", error.mean_abs_log)));
  }
}

TEST_CASE("a modelled gain means something where it exceeds what the model is off for its task") {
  const DeviceFacts h100{.kind = "vgpu (models H100)", .is_virtual = true};
  const auto error = model_error(h100, "gqa_decode_splitkv");
  REQUIRE(error);
  CHECK(!exceeds(*error, 1.009));
  CHECK(!exceeds(*error, 0.95));
  CHECK(exceeds(*error, 1.2));
  CHECK(exceeds(*error, 0.5));
  CHECK(model_error(h100, "a_task_of_mine")->task.empty());
  CHECK(!model_error({.kind = "vgpu (models RTX 4090)", .is_virtual = true}, "rmsnorm"));
  CHECK(!model_error({.kind = "NVIDIA H100 80GB HBM3"}, "rmsnorm"));
}
