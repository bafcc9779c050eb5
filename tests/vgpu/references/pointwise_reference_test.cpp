// SPDX-License-Identifier: Apache-2.0
// The references of pointwise operators and their gradients agree with independent float64 forms on the host: DoRA's
// composition by its definition, the group-rational activation by differences of the activation itself.
#include <cmath>

#include "tests/support/catch.h"
#include "tests/vgpu/references/reference_support.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

std::vector<float> floats(std::int64_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) {
    value = static_cast<float>(static_cast<double>(rng.bits() >> 11) * 0x1p-52 - 1);
  }
  return values;
}

/// y = P / Q of one element: a holds 6 coefficients, b 4.
double rational(double x, const double* a, const double* b) {
  double p = 0, q = 1;
  for (int i = 0; i < 6; ++i) p += a[i] * std::pow(x, i);
  for (int i = 1; i <= 4; ++i) q += std::abs(b[i - 1]) * std::pow(std::abs(x), i);
  return p / q;
}

/// The derivative of `function` at x by central differences of fourth order.
template <typename Function>
double derivative(Function function, double x) {
  const double h = 1e-3;
  return (8 * (function(x + h) - function(x - h)) - (function(x + 2 * h) - function(x - 2 * h))) / (12 * h);
}

}  // namespace

TEST_CASE("the DoRA reference agrees with the host in float64, for the rows listed") {
  const Task task = load_task(k_root / "tasks" / "dora_compose_fwd");
  const Workload& workload = *task.find_workload("not_aligned");
  const auto base = draws(element_count(task.tensor("base"), workload), 1, 1),
             lora = draws(element_count(task.tensor("lora"), workload), 1, 2);
  const auto g = floats(element_count(task.tensor("g"), workload), 3);
  const auto rows = some_rows(row_count(task, workload));
  const auto contents = run_on_vgpu({task, task.reference_source, Form::reference, workload, rows},
                                    {bytes_of(base), bytes_of(lora), bytes_of(g), {}});
  const auto y = values_of<double>(contents.at(3));
  const double scale = static_cast<double>(static_cast<float>(task.scalars.at(0).value));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::vector<double> gold;
    for (std::size_t n = 0; n < g.size(); ++n) {
      const std::size_t at = static_cast<std::size_t>(rows[i]) * g.size() + n;
      const double whole = oracle::to_double(base[at]) + scale * oracle::to_double(lora[at]);
      gold.push_back(static_cast<double>(g[n]) * whole - oracle::to_double(base[at]));
    }
    CHECK(row_error(gold.data(), &y[i * g.size()], g.size()) < 1e-12);
  }
}

TEST_CASE("the group-rational reference agrees with differences of the activation") {
  const Task task = load_task(k_root / "tasks" / "gr_kan_bwd");
  for (const char* name : {"short_odd", "not_aligned"}) {
    INFO(name);
    const Workload& workload = *task.find_workload(name);
    const auto count = [&](const char* tensor) { return element_count(task.tensor(tensor), workload); };
    auto x = floats(count("x"), 1), dy = floats(count("dy"), 2), a = floats(count("a"), 3),
         b = floats(count("b"), 4);
    for (float& value : x)
      value = 2 * value + (value > 0 ? 0.01f : -0.01f);  // no difference spans the kink at 0
    const std::size_t width = static_cast<std::size_t>(workload.dims.at("CG")), channels = 8 * width;
    const auto row_numbers = row_count(task, workload);
    const std::vector<std::int64_t> rows{row_numbers - 1, 0}, groups{7, 2, 0};
    // All rows, for run_on_vgpu gives both lists the same contents.
    const std::vector<std::int64_t> all{0, 1, 2, 3, 4, 5, 6, 7};
    const auto contents =
        run_on_vgpu({task, task.reference_source, Form::reference, workload, row_numbers >= 8 ? all : rows},
                    {bytes_of(x), bytes_of(dy), bytes_of(a), bytes_of(b), {}, {}, {}});
    const auto& listed = row_numbers >= 8 ? all : rows;
    const auto dx = values_of<double>(contents.at(4)), da = values_of<double>(contents.at(5)),
               db = values_of<double>(contents.at(6));
    const std::vector<double> a_all(a.begin(), a.end()), b_all(b.begin(), b.end());
    for (std::size_t i = 0; i < listed.size(); ++i) {
      const std::size_t at = static_cast<std::size_t>(listed[i]) * channels;
      for (std::size_t c = 0; c < channels; ++c) {
        const std::size_t n = c / width;
        const double slope =
            derivative([&](double value) { return rational(value, &a_all[n * 6], &b_all[n * 4]); },
                       static_cast<double>(x[at + c]));
        CHECK(std::abs(dx[i * channels + c] - static_cast<double>(dy[at + c]) * slope) < 1e-7);
      }
    }
    for (std::size_t i = 0; i < da.size() / 6; ++i) {
      const auto n = static_cast<std::size_t>(listed[i]);
      const auto loss = [&](const double* a_n, const double* b_n) {
        double sum = 0;
        for (std::size_t j = 0; j < x.size(); ++j) {
          if (j % channels / width == n)
            sum += static_cast<double>(dy[j]) * rational(static_cast<double>(x[j]), a_n, b_n);
        }
        return sum;
      };
      std::vector<double> a_n(&a_all[n * 6], &a_all[n * 6] + 6), b_n(&b_all[n * 4], &b_all[n * 4] + 4);
      for (std::size_t k = 0; k < 10; ++k) {
        double& coefficient = k < 6 ? a_n[k] : b_n[k - 6];
        const double held = coefficient;
        const double gold = derivative(
            [&](double value) {
              coefficient = value;
              return loss(a_n.data(), b_n.data());
            },
            held);
        coefficient = held;
        CHECK(std::abs((k < 6 ? da[i * 6 + k] : db[i * 4 + k - 6]) - gold) < 1e-7 * (1 + std::abs(gold)));
      }
    }
  }
}
