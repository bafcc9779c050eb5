// SPDX-License-Identifier: Apache-2.0
// The prefill reference agrees with an independent float64 implementation on the host, and so do the seeds that the
// virtual GPU can run, within the task's own gates.
#include <cmath>

#include "tests/support/catch.h"
#include "tests/vgpu/references/reference_support.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

struct PrefillCase {
  Workload workload;
  std::size_t channels = 0;
  std::vector<Bytes> inputs;
  oracle::Decode gold;
};

PrefillCase prefill_case(const Task& task, const char* name) {
  PrefillCase c;
  c.workload = *task.find_workload(name);
  const auto dim = [&](const char* of) { return static_cast<std::size_t>(c.workload.dims.at(of)); };
  const oracle::PrefillShape shape{dim("B"), dim("Hq"), dim("Hkv"), dim("Sq"), dim("Sk"), dim("D")};
  c.channels = shape.channels;
  const auto q = draws(element_count(task.tensor("q"), c.workload), 2, 1);
  const auto k = draws(element_count(task.tensor("k"), c.workload), 2, 2);
  const auto v = draws(element_count(task.tensor("v"), c.workload), 1, 3);
  c.inputs = {bytes_of(q), bytes_of(k), bytes_of(v), {}, {}};
  const bool is_causal = task.name == "gqa_prefill_causal";
  c.gold = oracle::prefill(shape, q, k, v, static_cast<float>(task.scalars.at(0).value), is_causal);
  return c;
}

void check_lse(double gold, double value, double gate) {
  if (std::isinf(gold)) {
    CHECK(value == gold);
  } else {
    CHECK(std::abs(value - gold) < gate);
  }
}

/// Shapes of both tasks, odd ones and empty rows among them.
const std::vector<std::pair<const char*, const char*>> k_cases = {
    {"gqa_prefill_causal", "one_key"},      {"gqa_prefill_causal", "few_keys"},
    {"gqa_prefill_causal", "odd"},          {"gqa_prefill_causal", "last_query"},
    {"gqa_prefill_causal", "chunk"},        {"gqa_prefill_causal", "rows_without_keys"},
    {"mha_prefill_full", "few_keys"},       {"mha_prefill_full", "odd"},
    {"mha_prefill_full", "cross_few_keys"},
};

}  // namespace

TEST_CASE("the prefill references agree with the host in float64, queries without keys included") {
  for (const auto& [task_name, name] : k_cases) {
    INFO(task_name << " at " << name);
    const Task task = load_task(k_root / "tasks" / task_name);
    const PrefillCase c = prefill_case(task, name);
    const auto rows = some_rows(row_count(task, c.workload));
    const auto contents =
        run_on_vgpu({task, task.reference_source, Form::reference, c.workload, rows}, c.inputs);
    const auto o = values_of<double>(contents.at(3)), lse = values_of<double>(contents.at(4));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto row = static_cast<std::size_t>(rows[i]);
      INFO("row " << row);
      CHECK(row_error(&c.gold.o[row * c.channels], &o[i * c.channels], c.channels) < 1e-12);
      check_lse(c.gold.lse[row], lse[i], 1e-11);
    }
  }
}

TEST_CASE(
    "every portable prefill seed agrees with the host within its gates, queries without keys included") {
  for (const auto& [task_name, name] : k_cases) {
    const Task task = load_task(k_root / "tasks" / task_name);
    const double element_gate = task.precision.at("o").element_rms + task.precision.at("o").element_ulp * 8;
    const PrefillCase c = prefill_case(task, name);
    for (const char* file : {"naive.cu", "mma_sync.cu"}) {
      INFO(task_name << "/" << file << " at " << name);
      const std::string source = read_text(k_root / "kernels_seed" / task.name / file);
      const auto contents = run_on_vgpu({task, source, Form::candidate, c.workload, {}}, c.inputs);
      const auto o = doubles_of(values_of<std::uint16_t>(contents.at(3)));
      const auto lse = values_of<float>(contents.at(4));
      for (std::size_t row = 0; row < lse.size(); ++row) {
        INFO("row " << row);
        CHECK(row_error(&c.gold.o[row * c.channels], &o[row * c.channels], c.channels) < element_gate);
        check_lse(c.gold.lse[row], static_cast<double>(lse[row]), 1e-4);
      }
    }
  }
}
