// SPDX-License-Identifier: Apache-2.0
// The reference of snapkv_select agrees with an independent float64 form on the host, edges of the pooling included.
#include <cmath>

#include "tests/support/catch.h"
#include "tests/vgpu/references/reference_support.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

/// Scores of the tokens before the window for query head `h` of sequence `b`.
std::vector<double> snapkv_scores(const Task& task, const Workload& workload, const oracle::Bf16& q,
                                  const oracle::Bf16& k, std::size_t b, std::size_t h) {
  const auto dim = [&](const char* name) { return static_cast<std::size_t>(workload.dims.at(name)); };
  const std::size_t tokens = dim("S"), window = dim("W"), heads = dim("Hq"), kv_heads = dim("Hkv"),
                    channels = dim("D"), count = tokens - window;
  const double scale = static_cast<double>(static_cast<float>(task.scalars.at(0).value));
  std::vector<double> sums(count), scores(count);
  for (std::size_t w = 0; w < window; ++w) {
    std::vector<double> weight(count + w + 1);
    double total = 0;  // scores are small here: no maximum is needed
    for (std::size_t j = 0; j < weight.size(); ++j) {
      const std::size_t query = ((b * window + w) * heads + h) * channels;
      const std::size_t key = ((b * tokens + j) * kv_heads + h / (heads / kv_heads)) * channels;
      double dot = 0;
      for (std::size_t d = 0; d < channels; ++d)
        dot += oracle::to_double(q[query + d]) * oracle::to_double(k[key + d]);
      total += weight[j] = std::exp(scale * dot);
    }
    for (std::size_t j = 0; j < count; ++j) sums[j] += weight[j] / total;
  }
  for (std::size_t j = 0; j < count; ++j) {
    for (std::size_t i = 0; i < count; ++i) {
      if ((i > j ? i - j : j - i) <= 2) scores[j] += sums[i] / 5;
    }
  }
  return scores;
}

}  // namespace

TEST_CASE("the SnapKV reference agrees with the host in float64, edges of the pooling included") {
  const Task task = load_task(k_root / "tasks" / "snapkv_select");
  for (const char* name : {"one_candidate", "fewer_than_room", "grouped"}) {
    INFO(name);
    const Workload& workload = *task.find_workload(name);
    const auto q = draws(element_count(task.tensor("q"), workload), 1, 1),
               k = draws(element_count(task.tensor("k"), workload), 1, 2);
    const auto rows = some_rows(row_count(task, workload));
    const auto contents = run_on_vgpu({task, task.reference_source, Form::reference, workload, rows},
                                      {bytes_of(q), bytes_of(k), {}});
    const auto scores = values_of<double>(contents.at(2));
    const auto heads = static_cast<std::size_t>(workload.dims.at("Hq"));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto row = static_cast<std::size_t>(rows[i]);
      const auto gold = snapkv_scores(task, workload, q, k, row / heads, row % heads);
      REQUIRE(scores.size() == gold.size() * rows.size());
      CHECK(row_error(gold.data(), &scores[i * gold.size()], gold.size()) < 1e-11);
    }
  }
}

TEST_CASE("SnapKV scores of equal keys are a fifth of the window's weight per neighbour") {
  const Task task = load_task(k_root / "tasks" / "snapkv_select");
  const Workload& workload = *task.find_workload("fewer_than_room");
  const oracle::Bf16 q(static_cast<std::size_t>(element_count(task.tensor("q"), workload)), 0x3F80);
  const oracle::Bf16 k(static_cast<std::size_t>(element_count(task.tensor("k"), workload)), 0x3F80);
  const auto contents = run_on_vgpu({task, task.reference_source, Form::reference, workload, {0}},
                                    {bytes_of(q), bytes_of(k), {}});
  const auto scores = values_of<double>(contents.at(2));
  double weight = 0;  // of one token: query w sees count + w + 1 equal keys
  for (std::size_t w = 0; w < 32; ++w) weight += 1 / static_cast<double>(scores.size() + w + 1);
  CHECK(std::abs(scores.front() - weight * 3 / 5) < 1e-12);
  CHECK(std::abs(scores.at(3) - weight) < 1e-12);
  CHECK(std::abs(scores.back() - weight * 3 / 5) < 1e-12);
}
