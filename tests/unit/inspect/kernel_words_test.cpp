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

TEST_CASE("how often a device agreed with the model is as documented, and decides what a gain means") {
  const std::ifstream file(KERNELITES_SOURCE_DIR "/docs/measurement.md");
  std::stringstream text;
  text << file.rdbuf();
  double from = 1;
  for (const PairAgreement& row : pair_agreement_table()) {
    CHECK(row.from == from);
    from = row.to;
    const std::string line = fmt::format("| {} | {} | {:.0f} % |",
                                         row.to > 0 ? fmt::format("{:.2f} to {:.2f}", row.from, row.to)
                                                    : fmt::format("{:.2f} or more", row.from),
                                         row.pairs, 100 * row.agreed);
    INFO(line);
    CHECK(text.str().find(line) != std::string::npos);
  }
  CHECK(from == 0);
  CHECK(!is_told_apart(1.009));
  CHECK(!is_told_apart(0.95));
  CHECK(!is_told_apart(1.13));  // larger than what the model is off on average, and told right in 71 of 100
  CHECK(is_told_apart(1.2));
  CHECK(is_told_apart(0.5));
  CHECK(least_gain_told() == 1.15);
  CHECK(agreement_words(1.244) ==
        "of 106 pairs of kernels that it puts 1.15 to 1.5 times apart, an H100 found the same one faster in "
        "at most "
        "94 %");
}

TEST_CASE("the model's error is known for the device that was compared") {
  const DeviceFacts h100{.kind = "vgpu (models H100)", .is_virtual = true};
  REQUIRE(model_error(h100, "gqa_decode_splitkv"));
  CHECK(model_error(h100, "a_task_of_mine")->task.empty());
  CHECK(!model_error({.kind = "vgpu (models RTX 4090)", .is_virtual = true}, "rmsnorm"));
  CHECK(!model_error({.kind = "NVIDIA H100 80GB HBM3"}, "rmsnorm"));
}
