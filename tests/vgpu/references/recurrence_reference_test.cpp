// SPDX-License-Identifier: Apache-2.0
// The references of recurrent operators agree with independent float64 forms on the host that know no recurrence: sums
// over all pairs of tokens. What they emulate errs as roundings to bf16 do.
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

/// sum_d a[d] b[d]
double dot(const std::uint16_t* a, const std::uint16_t* b, std::size_t channels) {
  double sum = 0;
  for (std::size_t d = 0; d < channels; ++d) sum += oracle::to_double(a[d]) * oracle::to_double(b[d]);
  return sum;
}

/// One head of lightning attention, every output by itself as a sum over the tokens before it.
struct LightningHead {
  const std::uint16_t *q, *k, *v;
  const float* s0;
  double rate, scale;
  std::size_t tokens, channels;

  double output(std::size_t t, std::size_t e) const {
    double sum = 0;
    for (std::size_t d = 0; d < channels; ++d) {
      sum += oracle::to_double(q[t * channels + d]) * static_cast<double>(s0[d * channels + e]);
    }
    sum *= std::exp(-rate * static_cast<double>(t + 1));
    for (std::size_t j = 0; j <= t; ++j) {
      sum += std::exp(-rate * static_cast<double>(t - j)) *
             dot(q + t * channels, k + j * channels, channels) * oracle::to_double(v[j * channels + e]);
    }
    return scale * sum;
  }
  double state(std::size_t d, std::size_t e) const {
    double sum = std::exp(-rate * static_cast<double>(tokens)) * static_cast<double>(s0[d * channels + e]);
    for (std::size_t j = 0; j < tokens; ++j) {
      sum += std::exp(-rate * static_cast<double>(tokens - 1 - j)) * oracle::to_double(k[j * channels + d]) *
             oracle::to_double(v[j * channels + e]);
    }
    return sum;
  }
};

}  // namespace

TEST_CASE("the lightning reference agrees with sums over all pairs of tokens, across chunks") {
  const Task task = load_task(k_root / "tasks" / "lightning_fwd");
  for (const char* name : {"one_token", "few_tokens", "above_chunk"}) {
    INFO(name);
    const Workload& workload = *task.find_workload(name);
    const auto count = [&](const char* tensor) { return element_count(task.tensor(tensor), workload); };
    const auto q = draws(count("q"), 1, 1), k = draws(count("k"), 1, 2), v = draws(count("v"), 1, 3);
    const auto slope = floats(count("slope"), 0.01f, 0.4f, 4), s0 = floats(count("s0"), -4, 4, 5);
    const std::vector<std::int64_t> rows{row_count(task, workload) - 1, 0};
    const auto contents =
        run_on_vgpu({task, task.reference_source, Form::reference, workload, rows},
                    {bytes_of(q), bytes_of(k), bytes_of(v), bytes_of(slope), bytes_of(s0), {}, {}});
    const auto o = values_of<double>(contents.at(5)), state = values_of<double>(contents.at(6));
    const auto o_emulated = values_of<double>(contents.at(8));
    const auto tokens = static_cast<std::size_t>(workload.dims.at("T")),
               channels = static_cast<std::size_t>(workload.dims.at("D"));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto row = static_cast<std::size_t>(rows[i]);
      const std::size_t at = row * tokens * channels;
      const LightningHead head{&q[at],
                               &k[at],
                               &v[at],
                               &s0[row * channels * channels],
                               static_cast<double>(slope[row % slope.size()]),
                               static_cast<double>(static_cast<float>(task.scalars.at(0).value)),
                               tokens,
                               channels};
      std::vector<double> gold_o, gold_state;
      for (std::size_t t = 0; t < tokens; ++t) {
        for (std::size_t e = 0; e < channels; ++e) gold_o.push_back(head.output(t, e));
      }
      for (std::size_t d = 0; d < channels; ++d) {
        for (std::size_t e = 0; e < channels; ++e) gold_state.push_back(head.state(d, e));
      }
      CHECK(row_error(gold_o.data(), &o[i * tokens * channels], gold_o.size()) < 1e-11);
      CHECK(row_error(gold_state.data(), &state[i * channels * channels], gold_state.size()) < 1e-11);
      const double emulated = row_error(gold_o.data(), &o_emulated[i * tokens * channels], gold_o.size());
      CHECK(emulated > 1e-4);
      CHECK(emulated < 0.05);
    }
  }
}
