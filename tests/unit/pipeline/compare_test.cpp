// SPDX-License-Identifier: Apache-2.0
// Comparison on the device against the same rules in plain C++.
#include "evaluators/worker/pipeline/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/core/rng.h"
#include "tests/support/catch.h"
#include "tests/support/harness_rig.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

constexpr double k_nan = std::numeric_limits<double>::quiet_NaN(),
                 k_infinity = std::numeric_limits<double>::infinity();

TensorBytes encoded(Dtype dtype, const std::vector<double>& values) {
  TensorBytes bytes(values.size() * dtype_bytes(dtype));
  for (std::size_t i = 0; i < values.size(); ++i) set_element(dtype, bytes, i, values[i]);
  return bytes;
}

/// One output over dims A=3, B=4, C=5, D=6.
struct Case {
  Task task;
  Workload workload{.name = "w", .dims = {{"A", 3}, {"B", 4}, {"C", 5}, {"D", 6}, {"K", 4}, {"N", 12}}};
  Precision gates{.name = "g", .row = 0.01, .element_ulp = 0.01, .element_rms = 0.05};
  Case(Dtype dtype, std::vector<std::string> shape, std::vector<std::string> rows) {
    for (const auto& [name, extent] : workload.dims) task.dims.push_back({.name = name});
    task.rows = std::move(rows);
    task.tensors = {{.name = "o", .dtype = dtype, .shape = std::move(shape), .role = Role::output}};
    task.precision["o"] = gates;
  }
  CompareOrder order() const { return compare_order(task, task.tensors[0], gates, workload); }
  std::vector<std::int64_t> all_rows() const {
    std::vector<std::int64_t> rows(static_cast<std::size_t>(row_count(task, workload)));
    std::iota(rows.begin(), rows.end(), 0);
    return rows;
  }
  HarnessRig::Compared run(const std::vector<double>& output, const std::vector<double>& gold,
                           const std::vector<double>& emulated = {}) const {
    return HarnessRig().compare(order(), encoded(task.tensors[0].dtype, output), gold, all_rows(), emulated);
  }
};

std::vector<double> noise(std::size_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<double> values(count);
  for (double& value : values) value = rng.uniform() * 2 - 1;
  return values;
}

/// Row gate and element gate of one part by their definition.
RowResult oracle(const std::vector<double>& output, const std::vector<double>& gold, const Precision& gates) {
  double e2 = 0, g2 = 0, worst = 0;
  for (std::size_t i = 0; i < gold.size(); ++i)
    e2 += std::pow(output[i] - gold[i], 2), g2 += gold[i] * gold[i];
  const double rms = std::sqrt(g2 / static_cast<double>(gold.size()));
  for (std::size_t i = 0; i < gold.size(); ++i) {
    worst = std::max(worst,
                     std::abs(output[i] - gold[i]) /
                         (gates.absolute + gates.element_ulp * std::abs(gold[i]) + gates.element_rms * rms));
  }
  return {
      .row = std::sqrt(e2 / g2), .share = std::sqrt(e2 / g2) / gates.row, .element = worst, .mismatch = 0};
}

}  // namespace

TEST_CASE("rows may lie anywhere in the output's shape") {
  // Rows (A, C) of an output [B, A, D, C]: a row has B x D elements.
  Case c(Dtype::f64, {"B", "A", "D", "C"}, {"A", "C"});
  const auto gold_tensor = noise(3 * 4 * 5 * 6, 1);
  auto output = gold_tensor;
  for (std::size_t i = 0; i < output.size(); ++i) output[i] += 0.002 * noise(output.size(), 2)[i];
  const auto at = [](std::size_t a, std::size_t b, std::size_t cc, std::size_t d) {
    return ((b * 3 + a) * 6 + d) * 5 + cc;
  };
  std::vector<double> gold;
  std::vector<RowResult> expected;
  for (std::size_t a = 0; a < 3; ++a) {
    for (std::size_t cc = 0; cc < 5; ++cc) {
      std::vector<double> g, o;
      for (std::size_t b = 0; b < 4; ++b) {
        for (std::size_t d = 0; d < 6; ++d)
          g.push_back(gold_tensor[at(a, b, cc, d)]), o.push_back(output[at(a, b, cc, d)]);
      }
      gold.insert(gold.end(), g.begin(), g.end());
      expected.push_back(oracle(o, g, c.gates));
    }
  }
  const auto compared = c.run(output, gold);
  REQUIRE(compared.all.size() == 15);
  for (std::size_t i = 0; i < 15; ++i) {
    CHECK(compared.all[i].row == Approx(expected[i].row).epsilon(1e-12));
    CHECK(compared.all[i].share == Approx(expected[i].share).epsilon(1e-12));
    CHECK(compared.all[i].element == Approx(expected[i].element).epsilon(1e-12));
  }
  CHECK(as_reference_rows(c.order(), gold_tensor) == gold);
  const auto columns = static_cast<std::ptrdiff_t>(c.order().columns);
  std::vector<double> some(gold.begin() + 2 * columns, gold.begin() + 3 * columns);
  some.insert(some.end(), gold.begin(), gold.begin() + columns);
  CHECK(listed_rows(c.order(), gold_tensor, {2, 0}) == some);
}

TEST_CASE("axes in per have gates of their own, tiles share one") {
  Case c(Dtype::f64, {"A", "C", "D"}, {"A"});
  c.gates.per = {"C"};
  c.gates.tile = 2;
  const auto gold = noise(3 * 5 * 6, 3);
  auto output = gold;
  output[(1 * 5 + 4) * 6 + 2] += 0.5;  // row 1, last tile, which holds one index of C
  const auto compared = c.run(output, gold);
  REQUIRE(compared.all.size() == 9);
  CHECK(compared.worst.index == 5);
  const std::vector<double> g(gold.begin() + 54, gold.begin() + 60),
      o(output.begin() + 54, output.begin() + 60);
  CHECK(compared.all[5].row == Approx(oracle(o, g, c.gates).row));
  for (const std::size_t i : {0, 1, 2, 3, 4, 6, 7, 8}) CHECK(compared.all[i].row == 0);
}

TEST_CASE("a row dim may be the first factor of an axis") {
  Case c(Dtype::f64, {"A*B", "D"}, {"A"});
  const auto gold = noise(3 * 4 * 6, 4);
  auto output = gold;
  output[2 * 24 + 7] += 1;
  CHECK(c.run(output, gold).worst.index == 2);
}

TEST_CASE("NaN and infinity are mismatches unless the reference has the same infinity") {
  Case c(Dtype::f32, {"A", "D"}, {"A"});
  std::vector<double> gold(18, 1), output(18, 1);
  gold[3] = output[3] = -k_infinity;
  CHECK(c.run(output, gold).worst.mismatch == 0);
  output[3] = k_infinity;
  CHECK(c.run(output, gold).worst.mismatch == 1);
  output[3] = -k_infinity;
  output[8] = k_nan;
  const auto compared = c.run(output, gold);
  CHECK(compared.worst.mismatch == 1);
  CHECK(compared.worst.index == 1);
}

TEST_CASE("a row of zeros must be zeros") {
  Case c(Dtype::f32, {"A", "D"}, {"A"});
  std::vector<double> gold(18, 0), output(18, 0);
  CHECK(c.run(output, gold).worst.share == 0);
  output[17] = 1e-30;
  CHECK(c.run(output, gold).worst.share > 1e20);
}

TEST_CASE("an emulated honest error widens the gates where it is larger") {
  Case c(Dtype::f64, {"A", "D"}, {"A"});
  c.gates.emulated = 2;
  const std::vector<double> gold(18, 1);
  std::vector<double> output(18, 1.03), emulated(18, 1.02);
  CHECK(c.run(output, gold, emulated).worst.share == Approx(0.75));
  emulated.assign(18, 1.001);
  CHECK(c.run(output, gold, emulated).worst.share == Approx(3));
}

TEST_CASE("the log-sum-exp gate is absolute") {
  Case c(Dtype::f32, {"A"}, {"A"});
  c.gates = {.name = "lse", .compare = Compare::log_sum_exp, .element_ulp = 1e-6, .absolute = 1e-4};
  const auto compared = c.run({0.00005, 100, -k_infinity}, {0, 100.0004, -k_infinity});
  CHECK(compared.all[0].element == Approx(0.5).epsilon(1e-4));
  CHECK(compared.all[1].element == Approx(2).epsilon(1e-2));
  CHECK(compared.worst.mismatch == 0);
}

TEST_CASE("the log-sum-exp gate widens with the terms of a sum") {
  Case c(Dtype::f32, {"A"}, {"A"});
  c.gates = {.name = "lse", .compare = Compare::log_sum_exp, .absolute = 1e-4, .over = "131072"};
  CHECK(c.run({0.00029, 0, 0}, {0, 0, 0}).worst.element == Approx(0.00029 / (1e-4 + 0x1p-11)).epsilon(1e-3));
}

TEST_CASE("exact integers differ or do not") {
  Case c(Dtype::i32, {"A", "D"}, {"A"});
  c.gates = {.name = "int", .compare = Compare::exact};
  std::vector<double> gold(18);
  std::iota(gold.begin(), gold.end(), -3);
  auto output = gold;
  CHECK(c.run(output, gold).worst.mismatch == 0);
  output[11] += 1;
  CHECK(c.run(output, gold).worst.mismatch == 1);
  CHECK(c.run(output, gold).worst.index == 1);
}

TEST_CASE("codes may be off by the distance from the unrounded code, and saturate") {
  Case c(Dtype::i8, {"A", "D"}, {"A"});
  c.gates = {.name = "code", .compare = Compare::codes, .distance = 0.5};
  std::vector<double> gold(18, 0), output(18, 0);
  gold[0] = 2.5, output[0] = 3;
  gold[1] = 300, output[1] = 127;
  gold[2] = -3.25, output[2] = -3;
  CHECK(c.run(output, gold).worst.element == Approx(1));
  output[2] = -4;
  CHECK(c.run(output, gold).worst.element == Approx(1.5));
}

TEST_CASE("floating codes count in units of their last place") {
  Case c(Dtype::e4m3, {"A", "D"}, {"A"});
  c.gates = {.name = "code", .compare = Compare::codes, .distance = 0.5};
  std::vector<double> gold(18, 0), output(18, 0);
  gold[0] = 17, output[0] = 16;    // spacing 2 between 16 and 32
  gold[1] = 0.001, output[1] = 0;  // subnormal spacing 2^-9
  gold[2] = 1000, output[2] = 448;
  const auto compared = c.run(output, gold);
  CHECK(compared.worst.element == Approx(1).epsilon(0.1));
  output[0] = 20;
  CHECK(c.run(output, gold).worst.element == Approx(3));
}

TEST_CASE("packed codes come lowest bits first, signed if they are") {
  Case c(Dtype::u8, {"A", "2"}, {"A"});
  c.gates = {.name = "int4", .compare = Compare::codes, .distance = 0.5, .bits = 4, .is_signed = true};
  const std::vector<double> gold{1, -2, 3, -8, 0, 7, -1, 5, 2, 2, 2, 2};
  const std::vector<double> output{0xE1, 0x83, 0x70, 0x5F, 0x22, 0x22};
  CHECK(c.run(output, gold).worst.element == 0);
  CHECK(c.run({0x1E, 0x83, 0x70, 0x5F, 0x22, 0x22}, gold).worst.element == 6);
}

TEST_CASE("bits follow the sign of their margin, and are free where it is small") {
  Case c(Dtype::u8, {"A", "1"}, {"A"});
  c.gates = {.name = "bits", .compare = Compare::bitmap, .tie = 0.1, .bits = 1};
  std::vector<double> gold(24, -1);
  gold[0] = 1, gold[9] = 1, gold[10] = 0.05;
  CHECK(c.run({1, 2, 0}, gold).worst.mismatch == 0);
  CHECK(c.run({1, 6, 0}, gold).worst.mismatch == 0);
  CHECK(c.run({1, 0, 128}, gold).worst.mismatch == 2);
}

TEST_CASE("a selection is right in any order up to ties") {
  Case c(Dtype::i32, {"A", "K"}, {"A"});
  c.gates = {.name = "sel", .compare = Compare::selection, .over = "N", .tie = 0.01};
  std::vector<double> scores(36, 0);
  for (std::size_t i = 0; i < 36; ++i) scores[i] = static_cast<double>(i % 12);
  // Row 1: candidates 7 and 8 tie within 1 %; row 2: only three can be chosen, one must be.
  scores[12 + 7] = 7.95;
  scores[12 + 8] = 8;
  for (std::size_t i = 0; i < 12; ++i) scores[24 + i] = -k_infinity;
  scores[24 + 2] = 5, scores[24 + 4] = 1, scores[24 + 6] = k_infinity;
  const auto judge = [&](const std::vector<double>& chosen) { return c.run(chosen, scores).worst; };
  const std::vector<double> right{11, 10, 9, 8, 10, 8, 11, 9, 6, 4, 2, -1};
  CHECK(judge(right).mismatch == 0);
  CHECK(judge(right).element <= 1);
  const auto with = [&](std::size_t place, double index) {
    auto changed = right;
    changed[place] = index;
    return judge(changed);
  };
  CHECK(with(5, 7).element <= 1);  // the tie
  CHECK(with(5, 7).mismatch == 0);
  CHECK(with(3, 7).element > 1);     // no tie in row 0
  CHECK(with(3, 9).mismatch == 1);   // twice the same
  CHECK(with(3, 12).mismatch == 1);  // out of range
  CHECK(with(3, -1).mismatch == 1);  // a gap where there is a choice
  CHECK(with(10, 3).mismatch == 1);  // cannot be chosen
  CHECK(with(11, 3).mismatch == 1);  // a choice where there is none
  CHECK(with(8, 3).mismatch == 1);   // the forced one is missing, and 3 cannot be chosen
}

TEST_CASE("an ordered selection is best first") {
  Case c(Dtype::i64, {"A", "K"}, {"A"});
  c.gates = {.name = "sel", .compare = Compare::selection, .over = "N", .is_ordered = true, .tie = 1e-6};
  std::vector<double> scores(36);
  for (std::size_t i = 0; i < 36; ++i) scores[i] = -static_cast<double>(i % 12) - 1;
  CHECK(c.run({0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3}, scores).worst.mismatch == 0);
  CHECK(c.run({0, 1, 2, 3, 0, 2, 1, 3, 0, 1, 2, 3}, scores).worst.mismatch == 1);
}

TEST_CASE("the k-th score is found among many of both signs") {
  Case c(Dtype::i32, {"A", "K"}, {"A"});
  c.workload.dims["N"] = 1000;
  c.workload.dims["K"] = 37;
  c.gates = {.name = "sel", .compare = Compare::selection, .over = "N", .tie = 1e-9};
  const auto scores = noise(3000, 5);
  std::vector<double> chosen;
  for (std::size_t row = 0; row < 3; ++row) {
    std::vector<double> order(1000);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](double a, double b) {
      return scores[row * 1000 + static_cast<std::size_t>(a)] >
             scores[row * 1000 + static_cast<std::size_t>(b)];
    });
    chosen.insert(chosen.end(), order.begin(), order.begin() + 37);
  }
  CHECK(c.run(chosen, scores).worst.mismatch == 0);
  CHECK(c.run(chosen, scores).worst.element == 0);
  chosen[36] = chosen[36] == 5 ? 6 : 5;
  const auto wrong = c.run(chosen, scores).worst;
  CHECK((wrong.mismatch > 0 || wrong.element > 1));
}

TEST_CASE("the worst of many rows is found wherever it is") {
  Case c(Dtype::f64, {"A", "D"}, {"A"});
  c.workload.dims["A"] = 700;
  for (const std::size_t row : {0, 255, 256, 699}) {
    std::vector<double> gold(700 * 6, 1), output(700 * 6, 1.001);
    output[row * 6] = k_nan;
    const auto worst = c.run(output, gold).worst;
    CHECK(worst.index == static_cast<std::int64_t>(row));
    CHECK(worst.mismatch == 1);
    CHECK(worst.share == Approx(0.1).epsilon(0.01));
  }
}
