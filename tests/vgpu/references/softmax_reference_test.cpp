// SPDX-License-Identifier: Apache-2.0
// The softmax reference agrees with an independent float64 implementation on the host, and so do the seeds.
#include <cmath>

#include "tests/support/catch.h"
#include "tests/vgpu/references/reference_support.h"

using namespace kernelites;
using namespace kernelites::worker;

TEST_CASE("the softmax reference agrees with the host in float64, for the rows listed") {
  const Task task = load_task(k_root / "tasks" / "softmax_row");
  for (const char* name : {"one_value", "short_odd", "not_a_power"}) {
    INFO(name);
    const Workload& workload = *task.find_workload(name);
    const auto x = draws(element_count(task.tensor("x"), workload), 40, 1);  // so that the maximum counts
    const auto width = static_cast<std::size_t>(workload.dims.at("N"));
    const auto rows = some_rows(row_count(task, workload));
    const auto contents =
        run_on_vgpu({task, task.reference_source, Form::reference, workload, rows}, {bytes_of(x), {}});
    const auto y = values_of<double>(contents.at(1));
    const auto gold = oracle::softmax(x, width);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      CHECK(row_error(&gold[static_cast<std::size_t>(rows[i]) * width], &y[i * width], width) < 1e-12);
    }
  }
}

TEST_CASE("every softmax seed agrees with the host within bf16 rounding") {
  const Task task = load_task(k_root / "tasks" / "softmax_row");
  for (const std::string& file : seeds_of(task.name)) {
    for (const char* name : {"one_value", "vector", "warp_plus_one", "not_a_power", "odd"}) {
      INFO(file << " at " << name);
      const Workload& workload = *task.find_workload(name);
      const auto x = draws(element_count(task.tensor("x"), workload), 3, 1);
      const auto contents =
          run_on_vgpu({task, read_text(file), Form::candidate, workload, {}}, {bytes_of(x), {}});
      const auto y = doubles_of(values_of<std::uint16_t>(contents.at(1)));
      const auto gold = oracle::softmax(x, static_cast<std::size_t>(workload.dims.at("N")));
      for (std::size_t i = 0; i < gold.size(); ++i) {
        CHECK(std::abs(y[i] - gold[i]) <= std::abs(gold[i]) * 0x1p-8 * 1.001);
      }
    }
  }
}
