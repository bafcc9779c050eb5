// SPDX-License-Identifier: Apache-2.0
// The reference of the backward pass agrees with an independent float64 implementation on the host and with the closed
// form of a single token; the inputs that it is given are those of the forward pass.
#include <cmath>

#include "tests/support/catch.h"
#include "tests/vgpu/references/reference_support.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

/// Tensors of gqa_bwd_causal in the task's order.
enum Tensor : std::size_t { k_q, k_k, k_v, k_o, k_lse, k_dout, k_dq, k_dk, k_dv };

struct BackwardCase {
  Task task;
  Workload workload;
  std::size_t S = 0, Hq = 0, Hkv = 0, D = 0;
  oracle::Bf16 q, k, v, o, dout;
  std::vector<float> lse;

  double scale() const { return static_cast<double>(static_cast<float>(task.scalars.at(0).value)); }
  std::vector<Bytes> inputs() const {
    return {bytes_of(q), bytes_of(k), bytes_of(v), bytes_of(o), bytes_of(lse), bytes_of(dout), {}, {}, {}};
  }
};

/// Outputs of the forward pass come from the host, rounded as the task says.
BackwardCase backward_case(const char* name) {
  BackwardCase c{.task = load_task(k_root / "tasks" / "gqa_bwd_causal"),
                 .workload = {},
                 .q = {},
                 .k = {},
                 .v = {},
                 .o = {},
                 .dout = {},
                 .lse = {}};
  c.workload = *c.task.find_workload(name);
  const auto dim = [&](const char* of) { return static_cast<std::size_t>(c.workload.dims.at(of)); };
  c.S = dim("S"), c.Hq = dim("Hq"), c.Hkv = dim("Hkv"), c.D = dim("D");
  const auto count = [&](const char* tensor) { return element_count(c.task.tensor(tensor), c.workload); };
  c.q = draws(count("q"), 2, 1), c.k = draws(count("k"), 2, 2), c.v = draws(count("v"), 1, 3);
  c.dout = draws(count("dout"), 1, 4);
  const oracle::PrefillShape shape{dim("B"), c.Hq, c.Hkv, c.S, c.S, c.D};
  const auto forward = oracle::prefill(shape, c.q, c.k, c.v, static_cast<float>(c.scale()), true);
  for (const double value : forward.o) c.o.push_back(oracle::to_bf16(static_cast<float>(value)));
  for (const double value : forward.lse) c.lse.push_back(static_cast<float>(value));
  return c;
}

double dot(const oracle::Bf16& a, std::size_t at_a, const oracle::Bf16& b, std::size_t at_b, std::size_t D) {
  double sum = 0;
  for (std::size_t d = 0; d < D; ++d)
    sum += oracle::to_double(a[at_a * D + d]) * oracle::to_double(b[at_b * D + d]);
  return sum;
}

/// Gradients of everything, from all pairs of one query head and key.
struct Gradients {
  std::vector<double> dq, dk, dv;
};

Gradients gradients(const BackwardCase& c) {
  Gradients sum{std::vector<double>(c.q.size()), std::vector<double>(c.k.size()),
                std::vector<double>(c.v.size())};
  for (std::size_t query = 0; query < c.lse.size(); ++query) {
    const std::size_t h = query % c.Hq, i = query / c.Hq % c.S, b = query / c.Hq / c.S;
    const double delta = dot(c.dout, query, c.o, query, c.D);
    for (std::size_t j = 0; j <= i; ++j) {
      const std::size_t key = (b * c.S + j) * c.Hkv + h / (c.Hq / c.Hkv);
      const double p =
          std::exp(c.scale() * dot(c.q, query, c.k, key, c.D) - static_cast<double>(c.lse[query]));
      const double ds = p * (dot(c.dout, query, c.v, key, c.D) - delta) * c.scale();
      for (std::size_t d = 0; d < c.D; ++d) {
        sum.dq[query * c.D + d] += ds * oracle::to_double(c.k[key * c.D + d]);
        sum.dk[key * c.D + d] += ds * oracle::to_double(c.q[query * c.D + d]);
        sum.dv[key * c.D + d] += p * oracle::to_double(c.dout[query * c.D + d]);
      }
    }
  }
  return sum;
}

/// Where the form of the reference has the output `name`.
std::size_t index_in_form(const BackwardCase& c, const std::string& name, Form form) {
  for (std::size_t i = 0; i < tensor_count_in_form(c.task, form); ++i) {
    if (tensor_in_form(c.task, i, form).name == name) return i;
  }
  throw Error("no tensor " + name);
}

}  // namespace

TEST_CASE("the backward reference agrees with the host in float64") {
  for (const char* name : {"few_tokens", "above_tile"}) {
    INFO(name);
    const BackwardCase c = backward_case(name);
    const Gradients gold = gradients(c);
    // The same rows are asked of queries and keys: as many as there are keys.
    const auto rows = some_rows(static_cast<std::int64_t>(c.k.size() / c.D));
    const auto contents =
        run_on_vgpu({c.task, c.task.reference_source, Form::reference, c.workload, rows}, c.inputs());
    const std::vector<std::pair<const char*, const std::vector<double>*>> outputs = {
        {"dq", &gold.dq}, {"dk", &gold.dk}, {"dv", &gold.dv}};
    for (const auto& [output, values] : outputs) {
      const auto exact = values_of<double>(contents.at(index_in_form(c, output, Form::reference)));
      const auto emulated = values_of<double>(
          contents.at(index_in_form(c, output + std::string("_emulated"), Form::reference)));
      for (std::size_t i = 0; i < rows.size(); ++i) {
        INFO(output << " row " << rows[i]);
        const double* row = &(*values)[static_cast<std::size_t>(rows[i]) * c.D];
        if (std::string(output) != "dv" && rows[i] < static_cast<std::int64_t>(c.Hq))
          continue;  // below: zero but for rounding
        CHECK(row_error(row, &exact[i * c.D], c.D) < 1e-11);
        // Where all weights of a query but one vanish, dq and dk are what rounding leaves: no bound holds for them.
        if (std::string(output) == "dv") CHECK(row_error(row, &emulated[i * c.D], c.D) < 0.02);
      }
    }
  }
}

TEST_CASE("the gradients of a single token are those of its value alone") {
  const BackwardCase c = backward_case("one_token");
  const std::vector<std::int64_t> rows{0, 1, 2, 3};
  const auto contents =
      run_on_vgpu({c.task, c.task.reference_source, Form::reference, c.workload, rows}, c.inputs());
  const auto dq = values_of<double>(contents.at(index_in_form(c, "dq", Form::reference)));
  const auto dv = values_of<double>(contents.at(index_in_form(c, "dv", Form::reference)));
  for (std::size_t key = 0; key < rows.size(); ++key) {
    for (std::size_t d = 0; d < c.D; ++d) {
      double sum = 0;  // p is 1 but for the rounding of lse to float
      for (std::size_t h = 0; h < c.Hq / c.Hkv; ++h)
        sum += oracle::to_double(c.dout[(key * (c.Hq / c.Hkv) + h) * c.D + d]);
      CHECK(dv[key * c.D + d] == Approx(sum).epsilon(1e-5).margin(1e-6));
      CHECK(std::abs(dq[key * c.D + d]) < 1e-12);  // dout . v = dout . o
    }
  }
}

TEST_CASE("the backward task is given the output and log-sum-exp of the forward pass") {
  const BackwardCase c = backward_case("few_tokens");
  std::vector<Bytes> inputs = c.inputs();
  inputs[k_o] = {}, inputs[k_lse] = {};
  const auto contents =
      run_on_vgpu({c.task, c.task.reference_source, Form::inputs, c.workload, {1, 0, 0, 0}}, inputs);
  const auto o = values_of<std::uint16_t>(contents.at(k_o));
  const auto lse = values_of<float>(contents.at(k_lse));
  for (std::size_t i = 0; i < o.size(); ++i) {
    CHECK(oracle::to_double(o[i]) == Approx(oracle::to_double(c.o[i])).epsilon(0.008).margin(1e-4));
  }
  for (std::size_t i = 0; i < lse.size(); ++i) CHECK(lse[i] == Approx(c.lse[i]).margin(1e-5));
}
