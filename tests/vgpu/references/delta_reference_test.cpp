// SPDX-License-Identifier: Apache-2.0
// The reference of kda_chunk_fwd agrees with a float64 form on the host that keeps no state: sums over pairs of tokens.
// With orthonormal keys and nothing forgotten it recalls values exactly.
#include <cmath>

#include "tests/support/catch.h"
#include "tests/vgpu/references/reference_support.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

std::vector<float> floats(std::int64_t count, float low, float high, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) {
    value = low + (high - low) * static_cast<float>(static_cast<double>(rng.bits() >> 11) * 0x1p-53);
  }
  return values;
}

struct KdaInputs {
  std::size_t tokens, heads, channels;
  oracle::Bf16 q, k, v;
  std::vector<float> g, beta, s0;
  double scale;
};

/// One head: what it reads, in float64, and its answers.
class KdaHead {
 public:
  KdaHead(const KdaInputs& in, std::size_t row) : in_(in), row_(row) {
    for (std::size_t t = 0; t < in.tokens; ++t) updates_.push_back(update(t));
  }

  std::vector<double> output(std::size_t t) const { return product(in_.q, t, t + 1, in_.scale); }

  std::vector<double> state() const {
    const std::size_t n = in_.channels;
    std::vector<double> result(n * n);
    for (std::size_t d = 0; d < n; ++d) {
      for (std::size_t e = 0; e < n; ++e) {
        double sum = static_cast<double>(in_.s0[(row_ * n + d) * n + e]) * decay(-1, in_.tokens - 1, d);
        for (std::size_t j = 0; j < in_.tokens; ++j) {
          sum += decay(static_cast<std::ptrdiff_t>(j), in_.tokens - 1, d) *
                 oracle::to_double(in_.k[at(j) + d]) * updates_[j][e];
        }
        result[d * n + e] = sum;
      }
    }
    return result;
  }

 private:
  std::size_t token(std::size_t t) const {
    return (row_ / in_.heads * in_.tokens + t) * in_.heads + row_ % in_.heads;
  }
  std::size_t at(std::size_t t) const { return token(t) * in_.channels; }
  /// Of channel d after token j (-1: of the initial state) until token t.
  double decay(std::ptrdiff_t j, std::size_t t, std::size_t d) const {
    double sum = 0;
    for (std::size_t r = static_cast<std::size_t>(j + 1); r <= t; ++r)
      sum += static_cast<double>(in_.g[at(r) + d]);
    return std::exp(sum);
  }
  /// The state at token t, decayed but without the updates from `end` on, times row t of x.
  std::vector<double> product(const oracle::Bf16& x, std::size_t t, std::size_t end, double factor) const {
    const std::size_t n = in_.channels;
    std::vector<double> result(n);
    for (std::size_t d = 0; d < n; ++d) {
      const double weight = factor * oracle::to_double(x[at(t) + d]);
      double left = 1;  // from token j on, walking back
      for (std::size_t j = t + 1; j-- > 0;) {
        if (j < end) {
          for (std::size_t e = 0; e < n; ++e)
            result[e] += weight * left * oracle::to_double(in_.k[at(j) + d]) * updates_[j][e];
        }
        left *= std::exp(static_cast<double>(in_.g[at(j) + d]));
      }
      for (std::size_t e = 0; e < n; ++e)
        result[e] += weight * left * static_cast<double>(in_.s0[(row_ * n + d) * n + e]);
    }
    return result;
  }
  std::vector<double> update(std::size_t t) const {
    std::vector<double> u = product(in_.k, t, t, 1);
    for (std::size_t e = 0; e < in_.channels; ++e)
      u[e] = static_cast<double>(in_.beta[token(t)]) * (oracle::to_double(in_.v[at(t) + e]) - u[e]);
    return u;
  }

  const KdaInputs& in_;
  std::size_t row_;
  std::vector<std::vector<double>> updates_;
};

KdaInputs kda_inputs(const Task& task, const Workload& workload) {
  const auto count = [&](const char* tensor) { return element_count(task.tensor(tensor), workload); };
  const auto dim = [&](const char* of) { return static_cast<std::size_t>(workload.dims.at(of)); };
  return {.tokens = dim("T"),
          .heads = dim("H"),
          .channels = dim("D"),
          .q = draws(count("q"), 0.125f, 1),
          .k = draws(count("k"), 0.125f, 2),
          .v = draws(count("v"), 1, 3),
          .g = floats(count("g"), -0.3f, 0, 4),
          .beta = floats(count("beta"), 0, 1, 5),
          .s0 = floats(count("s0"), -0.3f, 0.3f, 6),
          .scale = static_cast<double>(static_cast<float>(task.scalars.at(0).value))};
}

std::vector<Bytes> run_kda(const Task& task, const Workload& workload, const KdaInputs& in,
                           const std::vector<std::int64_t>& rows) {
  return run_on_vgpu({task, task.reference_source, Form::reference, workload, rows}, {bytes_of(in.q),
                                                                                      bytes_of(in.k),
                                                                                      bytes_of(in.v),
                                                                                      bytes_of(in.g),
                                                                                      bytes_of(in.beta),
                                                                                      bytes_of(in.s0),
                                                                                      {},
                                                                                      {}});
}

}  // namespace

TEST_CASE("the KDA reference agrees with sums over pairs of tokens, across chunks") {
  const Task task = load_task(k_root / "tasks" / "kda_chunk_fwd");
  for (const char* name : {"one_token", "few_tokens", "part_of_it"}) {
    INFO(name);
    const Workload& workload = *task.find_workload(name);
    const KdaInputs in = kda_inputs(task, workload);
    const std::int64_t row = row_count(task, workload) - 1;
    const auto contents = run_kda(task, workload, in, {row});
    const auto o = values_of<double>(contents.at(6)), state = values_of<double>(contents.at(7)),
               emulated = values_of<double>(contents.at(9));
    const KdaHead head(in, static_cast<std::size_t>(row));
    std::vector<double> gold;
    for (std::size_t t = 0; t < in.tokens; ++t) {
      const auto channels = head.output(t);
      gold.insert(gold.end(), channels.begin(), channels.end());
    }
    CHECK(row_error(gold.data(), o.data(), gold.size()) < 1e-11);
    const auto gold_state = head.state();
    CHECK(row_error(gold_state.data(), state.data(), gold_state.size()) < 1e-11);
    const double honest = row_error(gold.data(), emulated.data(), gold.size());
    CHECK(honest > 1e-4);
    CHECK(honest < 0.05);
  }
}

TEST_CASE("the KDA reference recalls the values of orthonormal keys where nothing is forgotten") {
  const Task task = load_task(k_root / "tasks" / "kda_chunk_fwd");
  const Workload& workload = *task.find_workload("few_tokens");
  KdaInputs in = kda_inputs(task, workload);
  std::fill(in.g.begin(), in.g.end(), 0.0f);
  std::fill(in.beta.begin(), in.beta.end(), 1.0f);
  std::fill(in.q.begin(), in.q.end(), std::uint16_t{0});
  std::fill(in.k.begin(), in.k.end(), std::uint16_t{0});
  const std::size_t width = in.heads * in.channels;
  for (std::size_t t = 0; t < in.tokens; ++t) in.k[t * width + 9 * t] = 0x3F80;  // head 0: channel 9 t
  in.q[(in.tokens - 1) * width + 9 * 2] = 0x3F80;
  const auto o = values_of<double>(run_kda(task, workload, in, {0}).at(6));
  for (std::size_t e = 0; e < in.channels; ++e) {
    const double value = oracle::to_double(in.v[2 * width + e]);
    CHECK(std::abs(o[(in.tokens - 1) * in.channels + e] - in.scale * value) < 1e-13);
  }
}
