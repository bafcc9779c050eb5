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

constexpr std::size_t k_chunk = 16;  // of the kernel that mLSTM's reference has in mind

/// One head of the mLSTM: every output by itself, as a sum over the tokens before it with logarithms of weights.
struct MlstmHead {
  const std::uint16_t *q, *k, *v;
  const float *igate, *fgate, *c0, *n0;
  double m0, scale, eps;
  std::size_t keys, values;

  static double log_sigmoid(float x) { return -std::log1p(std::exp(-static_cast<double>(x))); }
  /// The logarithm of token j's weight at token t; j = -1: of the initial state.
  double log_weight(std::ptrdiff_t j, std::size_t t) const {
    double sum = j < 0 ? m0 : static_cast<double>(igate[j]);
    for (std::size_t r = static_cast<std::size_t>(j + 1); r <= t; ++r) sum += log_sigmoid(fgate[r]);
    return sum;
  }
  double stabiliser(std::size_t t) const {
    double largest = log_weight(-1, t);
    for (std::size_t j = 0; j <= t; ++j)
      largest = std::max(largest, log_weight(static_cast<std::ptrdiff_t>(j), t));
    return largest;
  }
  /// The weight of token j's value at token t.
  double weight(std::size_t j, std::size_t t) const {
    return scale * dot(q + t * keys, k + j * keys, keys) *
           std::exp(log_weight(static_cast<std::ptrdiff_t>(j), t) - stabiliser(t));
  }
  double denominator(std::size_t t) const {
    const double m = stabiliser(t), start = std::exp(log_weight(-1, t) - m);
    double normaliser = 0;
    for (std::size_t d = 0; d < keys; ++d)
      normaliser += scale * oracle::to_double(q[t * keys + d]) * start * static_cast<double>(n0[d]);
    for (std::size_t j = 0; j <= t; ++j) normaliser += weight(j, t);
    return std::max(std::abs(normaliser), std::exp(-m)) + eps;
  }
  /// All channels of h at token t.
  std::vector<double> output(std::size_t t) const {
    std::vector<double> h(values);
    const double start = std::exp(log_weight(-1, t) - stabiliser(t));
    for (std::size_t d = 0; d < keys; ++d) {
      const double query = scale * oracle::to_double(q[t * keys + d]) * start;
      for (std::size_t e = 0; e < values; ++e) h[e] += query * static_cast<double>(c0[d * values + e]);
    }
    for (std::size_t j = 0; j <= t; ++j) {
      const double factor = weight(j, t);
      for (std::size_t e = 0; e < values; ++e) h[e] += factor * oracle::to_double(v[j * values + e]);
    }
    const double divisor = denominator(t);
    for (double& value : h) value /= divisor;
    return h;
  }
};

/// The state after `tokens` tokens: it answers a further query as the sums do, its rows by the keys' weights.
struct MlstmMemory {
  std::vector<double> n, c,
      changed;  // by what roundings of weighted keys to bf16 change the memory: root mean squares

  MlstmMemory(const MlstmHead& head, std::size_t tokens, double m)
      : n(head.keys), c(head.keys * head.values), changed(head.keys * head.values) {
    const double start = std::exp((tokens == 0 ? head.m0 : head.log_weight(-1, tokens - 1)) - m);
    for (std::size_t d = 0; d < head.keys; ++d) {
      n[d] = start * static_cast<double>(head.n0[d]);
      for (std::size_t e = 0; e < head.values; ++e) add(head, tokens, m, start, d, e);
      for (std::size_t j = 0; j < tokens; ++j) n[d] += key(head, tokens, m, j, d);
    }
  }

 private:
  static double key(const MlstmHead& head, std::size_t tokens, double m, std::size_t j, std::size_t d) {
    return std::exp(head.log_weight(static_cast<std::ptrdiff_t>(j), tokens - 1) - m) *
           oracle::to_double(head.k[j * head.keys + d]);
  }

  void add(const MlstmHead& head, std::size_t tokens, double m, double start, std::size_t d, std::size_t e) {
    const std::size_t at = d * head.values + e;
    double squares = 0;
    c[at] = start * static_cast<double>(head.c0[at]);
    for (std::size_t j = 0; j < tokens; ++j) {
      const double added = key(head, tokens, m, j, d) * oracle::to_double(head.v[j * head.values + e]);
      c[at] += added;
      squares += added * added;
    }
    changed[at] = std::sqrt(squares / 3) / 512;
  }
};

/// By what the roundings to bf16 of a kernel in chunks change h at token t, root mean squares: of the state at the
/// start of t's chunk (and of keys that made it), of weights within the chunk, of h.
std::vector<double> output_changes(const MlstmHead& head, const MlstmMemory& state, std::size_t first,
                                   std::size_t t) {
  double decay = (first == 0 ? head.m0 : head.stabiliser(first - 1)) - head.stabiliser(t);
  for (std::size_t r = first; r <= t; ++r) decay += MlstmHead::log_sigmoid(head.fgate[r]);
  const double divisor = head.denominator(t);
  std::vector<double> changes = head.output(t);
  for (std::size_t e = 0; e < head.values; ++e) {
    double squares = 0;
    for (std::size_t d = 0; d < head.keys; ++d) {
      const std::size_t at = d * head.values + e;
      const double query = head.scale * oracle::to_double(head.q[t * head.keys + d]) * std::exp(decay);
      squares += query * query *
                 (state.c[at] * state.c[at] / 3 / (512 * 512) + state.changed[at] * state.changed[at]);
    }
    for (std::size_t j = first; j <= t; ++j) {
      const double added = head.weight(j, t) * oracle::to_double(head.v[j * head.values + e]);
      squares += added * added / 3 / (512 * 512);
    }
    changes[e] = std::sqrt(squares / (divisor * divisor) + changes[e] * changes[e] / 3 / (512 * 512));
  }
  return changes;
}

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

TEST_CASE("the mLSTM reference agrees with sums over all pairs of tokens, across chunks") {
  const Task task = load_task(k_root / "tasks" / "mlstm_exp_fwd");
  for (const char* name : {"one_token", "few_tokens", "above_chunk"}) {
    INFO(name);
    const Workload& workload = *task.find_workload(name);
    const auto count = [&](const char* tensor) { return element_count(task.tensor(tensor), workload); };
    const auto q = draws(count("q"), 1, 1), k = draws(count("k"), 1, 2), v = draws(count("v"), 1, 3);
    const auto igate = floats(count("igate"), -3, 3, 4), fgate = floats(count("fgate"), -1, 5, 5);
    const auto c0 = floats(count("c0"), -1, 1, 6), n0 = floats(count("n0"), -1, 1, 7),
               m0 = floats(count("m0"), -1, 1, 8);
    const auto row = static_cast<std::size_t>(row_count(task, workload) - 1);
    const auto contents = run_on_vgpu(
        {task, task.reference_source, Form::reference, workload, {static_cast<std::int64_t>(row)}},
        {bytes_of(q),
         bytes_of(k),
         bytes_of(v),
         bytes_of(igate),
         bytes_of(fgate),
         bytes_of(c0),
         bytes_of(n0),
         bytes_of(m0),
         {},
         {},
         {},
         {}});
    const auto h = values_of<double>(contents.at(8)), c = values_of<double>(contents.at(9)),
               n = values_of<double>(contents.at(10)), m = values_of<double>(contents.at(11));
    const auto h_emulated = values_of<double>(contents.at(13)),
               c_emulated = values_of<double>(contents.at(14));
    const auto dim = [&](const char* of) { return static_cast<std::size_t>(workload.dims.at(of)); };
    const std::size_t tokens = dim("S"), keys = dim("DK"), values = dim("DV");
    const MlstmHead head{&q[row * tokens * keys],
                         &k[row * tokens * keys],
                         &v[row * tokens * values],
                         &igate[row * tokens],
                         &fgate[row * tokens],
                         &c0[row * keys * values],
                         &n0[row * keys],
                         static_cast<double>(m0[row]),
                         static_cast<double>(static_cast<float>(task.scalars.at(0).value)),
                         static_cast<double>(static_cast<float>(task.scalars.at(1).value)),
                         keys,
                         values};
    for (std::size_t first = 0; first < tokens; first += k_chunk) {
      const MlstmMemory state(head, first, first == 0 ? head.m0 : head.stabiliser(first - 1));
      for (std::size_t t = first; t < std::min(tokens, first + k_chunk); ++t) {
        const auto gold = head.output(t), changes = output_changes(head, state, first, t);
        CHECK(row_error(gold.data(), &h[t * values], values) < 1e-10);
        std::vector<double> emulated(values);
        for (std::size_t e = 0; e < values; ++e) emulated[e] = h_emulated[t * values + e] - h[t * values + e];
        CHECK(row_error(changes.data(), emulated.data(), values) < 1e-9);
      }
    }
    CHECK(std::abs(m.at(0) - head.stabiliser(tokens - 1)) < 1e-11);
    const MlstmMemory gold(head, tokens, m.at(0));
    CHECK(row_error(gold.n.data(), n.data(), keys) < 1e-11);
    CHECK(row_error(gold.c.data(), c.data(), gold.c.size()) < 1e-11);
    std::vector<double> changes(c.size());
    for (std::size_t i = 0; i < c.size(); ++i) changes[i] = c_emulated[i] - c[i];
    CHECK(row_error(gold.changed.data(), changes.data(), changes.size()) < 1e-9);
  }
}
