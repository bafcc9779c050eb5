// SPDX-License-Identifier: Apache-2.0
// What the device draws for each kind of fill, by properties that its definition promises.
#include "evaluators/worker/pipeline/fill.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/core/fill_kind.h"
#include "tests/support/catch.h"
#include "tests/support/harness_rig.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

/// q [B, H, D], k and v [B, S, G, D] with lengths, an index tensor, a code tensor.
Task drawn_task() {
  return parse_task(parse_json(R"({
    "name": "drawn", "title": "t", "formula": "f", "family": "test",
    "dims": {"B": {}, "S": {}, "H": {}, "G": {}, "D": {"constant": 32}},
    "scalars": {"scale": {"dtype": "f32", "value": 0.25}},
    "tensors": {
      "q": {"dtype": "f32", "shape": ["B", "H", "D"], "role": "input", "heads": "H", "fill": {"kind": "normal"}},
      "k": {"dtype": "f32", "shape": ["B", "S", "G", "D"], "role": "input", "heads": "G", "fill": {"kind": "normal"},
            "valid": {"axis": "S", "lengths": "len"}},
      "v": {"dtype": "bf16", "shape": ["B", "S", "G", "D"], "role": "input", "heads": "G", "fill": {"kind": "normal"},
            "valid": {"axis": "S", "lengths": "len"}},
      "idx": {"dtype": "i32", "shape": ["B", "S", "G", "8"], "role": "input", "fill": {"kind": "integers"}},
      "codes": {"dtype": "e4m3", "shape": ["B", "S", "D"], "role": "input", "fill": {"kind": "codes"}},
      "words": {"dtype": "i64", "shape": ["B", "S"], "role": "input", "fill": {"kind": "bits"}},
      "len": {"dtype": "i32", "shape": ["B"], "role": "metadata", "fill": [{"kind": "lengths_ragged", "of": "S", "min_fraction": 0.5}]},
      "o": {"dtype": "bf16", "shape": ["B", "H", "D"], "role": "output"}
    },
    "rows": ["B", "H"],
    "precision": {"o": {"name": "bf16", "row": 0.004, "element_rms": 0.02}},
    "families": {"normal": {"fill": {}, "catches": "x"}},
    "check": [{"name": "w", "dims": {"B": 3, "S": 70, "H": 8, "G": 4}}],
    "bench": [{"name": "b", "dims": {"B": 3, "S": 70, "H": 8, "G": 4}, "source": "s"}],
    "hold_out": [], "roofline": {"flops": "1", "bytes": "1", "exponentials": "0"}, "baselines": []
  })",
                               "t"),
                    "// r", "t");
}

/// A draw of single tensors; the same key gives the same draw.
class Draw {
 public:
  explicit Draw(const char* key = "a", double hidden = 0) : key_(Key::fixed(key)) {
    metadata_ = draw_metadata(task_, task_.check[0], 0, key_);
    family_.hidden = hidden;
  }
  std::vector<double> values(const std::string& name, const std::string& kind,
                             const std::map<std::string, double>& stated = {}) {
    Fill fill{.kind = kind, .number = {}, .formula = {}, .of = {}, .lengths = {}};
    for (const FillParameter& parameter : find_fill_kind(kind)->parameters)
      fill.number[std::string(parameter.name)] = parameter.fallback;
    for (const auto& [parameter, value] : stated) fill.number[parameter] = value;
    family_.fill = {{name, fill}};
    const TensorSpec& tensor = task_.tensor(name);
    const FillDraw draw{.task = task_,
                        .workload = task_.check[0],
                        .family = family_,
                        .metadata = metadata_,
                        .pattern = key_.derive("pattern").seed()};
    const auto bytes =
        static_cast<std::size_t>(element_count(tensor, task_.check[0])) * dtype_bytes(tensor.dtype);
    raw = rig_.fill(tensor_fill(draw, tensor, key_.derive("tensor", name.size()).seed()), bytes);
    return element_values(tensor.dtype, raw);
  }
  std::int32_t length(std::size_t b) const { return metadata_.at("len")[b]; }
  TensorBytes raw;

 private:
  HarnessRig rig_;
  Key key_;
  Task task_ = drawn_task();
  MetadataContents metadata_;
  InputFamily family_{.name = "f", .fill = {}, .precision = {}, .catches = "x"};
};

constexpr std::size_t k_b = 3, k_s = 70, k_g = 4, k_d = 32;
std::size_t at(std::size_t b, std::size_t s, std::size_t g, std::size_t d) {
  return ((b * k_s + s) * k_g + g) * k_d + d;
}

/// Mean and standard deviation of what is not NaN.
std::pair<double, double> moments(const std::vector<double>& values) {
  double sum = 0, squares = 0, count = 0;
  for (const double value : values) {
    if (std::isnan(value)) continue;
    sum += value, squares += value * value, ++count;
  }
  return {sum / count, std::sqrt(squares / count - sum / count * sum / count)};
}

/// The token of (b, g) whose vector has the greatest length.
std::size_t largest_token(const std::vector<double>& k, std::size_t b, std::size_t g, std::int32_t length) {
  std::size_t best = 0;
  double most = -1;
  for (std::size_t s = 0; s < static_cast<std::size_t>(length); ++s) {
    double squares = 0;
    for (std::size_t d = 0; d < k_d; ++d) squares += k[at(b, s, g, d)] * k[at(b, s, g, d)];
    if (squares > most) most = squares, best = s;
  }
  return best;
}

}  // namespace

TEST_CASE("normal draws have the mean and spread that they are asked for, and tails") {
  Draw draw;
  const auto [mean, std] = moments(draw.values("k", "normal", {{"mean", 2}, {"std", 3}}));
  CHECK(mean == Approx(2).margin(0.06));
  CHECK(std == Approx(3).epsilon(0.02));
  const auto values = draw.values("k", "normal");
  const auto beyond = [&](double limit) {
    const auto count = [&](double least) {
      return static_cast<double>(
          std::count_if(values.begin(), values.end(), [&](double v) { return std::abs(v) >= least; }));
    };
    return count(limit) / count(0);  // of what is a number
  };
  CHECK(beyond(1) == Approx(0.3173).epsilon(0.05));
  CHECK(beyond(3) > 0.0018);
  CHECK(beyond(3) < 0.0036);
}

TEST_CASE("what lies beyond the length is NaN, and only that") {
  Draw draw;
  for (const char* name : {"k", "v"}) {
    const auto values = draw.values(name, "normal");
    for (std::size_t b = 0; b < k_b; ++b) {
      for (std::size_t s = 0; s < k_s; ++s)
        CHECK(std::isnan(values[at(b, s, 1, 5)]) == (s >= static_cast<std::size_t>(draw.length(b))));
    }
  }
}

TEST_CASE("uniform and log-uniform draws stay in their range and fill it") {
  Draw draw;
  const auto uniform = draw.values("q", "uniform", {{"low", -0.25}, {"high", 0.5}});
  CHECK(*std::min_element(uniform.begin(), uniform.end()) >= -0.25);
  CHECK(*std::min_element(uniform.begin(), uniform.end()) < -0.24);
  CHECK(*std::max_element(uniform.begin(), uniform.end()) > 0.49);
  auto logs = draw.values("q", "log_uniform");
  for (double& value : logs) value = std::log2(value);
  CHECK(*std::min_element(logs.begin(), logs.end()) >= -4.001);
  CHECK(*std::max_element(logs.begin(), logs.end()) <= 4.001);
  CHECK(moments(logs).first == Approx(0).margin(0.3));
}

TEST_CASE("a shifted query and a shifted key add up to the product of their offsets") {
  Draw draw;
  const auto q = draw.values("q", "shifted", {{"offset", 2}, {"std", 0}});
  const auto k = draw.values("k", "shifted", {{"offset", 3}, {"std", 0}});
  double dot = 0;
  for (std::size_t d = 0; d < k_d; ++d) dot += q[d] * k[at(0, 0, 0, d)];
  CHECK(dot == 2 * 3 * 32);
  CHECK(std::set<double>(q.begin(), q.end()) == std::set<double>{-2, 2});
}

TEST_CASE("the pattern of signs differs between keys") {
  CHECK(Draw("a").values("q", "signs") != Draw("b").values("q", "signs"));
}

TEST_CASE("a rising trend ends with the sequence, not with the cache") {
  Draw draw;
  const auto k = draw.values("k", "rising", {{"slope", 10}, {"std", 0}});
  for (std::size_t b = 0; b < k_b; ++b) {
    const auto last = static_cast<std::size_t>(draw.length(b)) - 1;
    CHECK(std::abs(k[at(b, last, 2, 7)]) == Approx(10));
    CHECK(std::abs(k[at(b, 0, 2, 7)]) == Approx(10.0 / draw.length(b)));
  }
}

TEST_CASE("keys and values agree on the hot token, which differs between sequences and heads") {
  std::set<std::size_t> places;
  std::size_t last = 0;
  for (const char* key : {"a", "b", "c", "d"}) {
    Draw draw(key);
    const auto k = draw.values("k", "spike", {{"height", 50}, {"std", 0.1}});
    const auto v = draw.values("v", "tail_mass", {{"gap", 3}, {"std", 4}});
    for (std::size_t b = 0; b < k_b; ++b) {
      for (std::size_t g = 0; g < k_g; ++g) {
        const std::size_t hot = largest_token(k, b, g, draw.length(b));
        places.insert(hot);
        last += hot + 1 == static_cast<std::size_t>(draw.length(b));
        const double tail = std::exp(3.0) / (draw.length(b) - 1);
        for (std::size_t s = 0; s < static_cast<std::size_t>(draw.length(b)); ++s) {
          if (s != hot) CHECK(std::abs(v[at(b, s, g, 3)]) == Approx(tail).epsilon(0.005));
        }
      }
    }
  }
  CHECK(places.size() > 6);
  CHECK(last >= 4);
  CHECK(places.contains(0));
}

TEST_CASE("one-hot vectors hold one value or nothing, permuted ones always one") {
  Draw draw;
  const auto some = draw.values("v", "one_hot", {{"value", 64}, {"count", 16}});
  const auto all = draw.values("v", "permuted_one_hot", {{"value", 2}});
  std::size_t hot = 0, vectors = 0;
  std::set<std::size_t> channels;
  for (std::size_t b = 0; b < k_b; ++b) {
    for (std::size_t s = 0; s < static_cast<std::size_t>(draw.length(b)); ++s) {
      std::size_t here = 0, ones = 0;
      for (std::size_t d = 0; d < k_d; ++d) {
        here += some[at(b, s, 0, d)] == 64;
        if (all[at(b, s, 0, d)] == 2) ++ones, channels.insert(d);
      }
      CHECK(here <= 1);
      CHECK(ones == 1);
      hot += here, ++vectors;
    }
  }
  CHECK(hot > 20);
  CHECK(hot < vectors / 2);
  CHECK(channels.size() > 20);
}

TEST_CASE("repeated tokens are equal within a sequence and a head, and differ between them") {
  Draw draw;
  const auto alike = draw.values("k", "repeated");
  CHECK(alike[at(0, 0, 1, 4)] == alike[at(0, 20, 1, 4)]);
  CHECK(alike[at(0, 0, 1, 4)] != alike[at(0, 0, 2, 4)]);
  CHECK(alike[at(0, 0, 1, 4)] != alike[at(1, 0, 1, 4)]);
  const auto pairs = draw.values("k", "repeated", {{"times", 2}});
  CHECK(pairs[at(0, 4, 1, 4)] == pairs[at(0, 5, 1, 4)]);
  CHECK(pairs[at(0, 5, 1, 4)] != pairs[at(0, 6, 1, 4)]);
}

TEST_CASE("coherent keys of unit length point into nearly one direction") {
  Draw draw;
  const auto k = draw.values("k", "coherent", {{"noise", 0.3}, {"unit", 1}});
  double own = 0, dot = 0, other = 0;
  for (std::size_t d = 0; d < k_d; ++d) {
    own += k[at(0, 3, 0, d)] * k[at(0, 3, 0, d)];
    dot += k[at(0, 3, 0, d)] * k[at(0, 20, 0, d)];
    other += k[at(0, 3, 0, d)] * k[at(1, 3, 0, d)];
  }
  CHECK(own == Approx(1).epsilon(1e-5));
  CHECK(dot > 0.8);
  CHECK(std::abs(other) < 0.7);
}

TEST_CASE("gates are in their range") {
  Draw draw;
  for (const double beta : draw.values("q", "sigmoid", {{"mean", 1}, {"std", 2}}))
    CHECK((beta > 0 && beta < 1));
  for (const double decay : draw.values("q", "log_sigmoid")) CHECK(decay < 0);
  const auto decay = draw.values("q", "log_sigmoid", {{"mean", 3}, {"std", 0}, {"divisor", 2}});
  CHECK(decay[0] == Approx(-std::log1p(std::exp(-3.0)) / 2).epsilon(1e-5));
}

TEST_CASE("segments switch between two values, an impulse is one token beside a border") {
  Draw draw;
  const auto segments = draw.values("k", "segments", {{"low", -20}, {"high", 0}, {"length", 8}});
  CHECK(segments[at(0, 8, 0, 0)] == segments[at(0, 15, 0, 9)]);
  std::set<double> seen;
  for (const double value : segments) {
    if (!std::isnan(value)) seen.insert(value);
  }
  CHECK(seen == std::set<double>{-20, 0});
  const auto impulse = draw.values("k", "impulse", {{"chunk", 16}});
  for (std::size_t g = 0; g < k_g; ++g) {
    const std::size_t hot = largest_token(impulse, 0, g, draw.length(0));
    CHECK((hot % 16 == 15 || hot % 16 <= 1));
    std::size_t others = 0;
    for (std::size_t s = 0; s < static_cast<std::size_t>(draw.length(0)); ++s)
      others += s != hot && impulse[at(0, s, g, 0)] != 0;
    CHECK(others == 0);
  }
}

TEST_CASE("edge values hold subnormals and both zeros, gaps minus infinity, heavy tails what they say") {
  Draw draw;
  const auto edges = draw.values("v", "edge_values", {{"share", 0.5}});
  CHECK(std::any_of(edges.begin(), edges.end(), [](double v) { return v == 0 && std::signbit(v); }));
  CHECK(std::any_of(edges.begin(), edges.end(), [](double v) { return v != 0 && std::abs(v) < 0x1p-126; }));
  const auto gaps = draw.values("q", "gaps", {{"share", 0.25}});
  const auto empty = std::count_if(gaps.begin(), gaps.end(), [](double v) { return std::isinf(v) && v < 0; });
  CHECK(empty == Approx(0.25 * static_cast<double>(gaps.size())).epsilon(0.25));
  const auto heavy = draw.values("k", "student_t");
  CHECK(std::count_if(heavy.begin(), heavy.end(), [](double v) { return std::abs(v) > 8; }) > 20);
}

TEST_CASE("values on a grid are multiples of it, and head factors grow with the head") {
  Draw draw;
  for (const double value : draw.values("q", "normal", {{"std", 3}, {"grid", 0.25}}))
    CHECK(std::fmod(value, 0.25) == 0);
  const auto heads = draw.values("q", "constant", {{"value", 1}, {"head_step", 0.5}});
  for (std::size_t h = 0; h < 8; ++h) CHECK(heads[h * k_d] == 1 + 0.5 * static_cast<double>(h));
}

TEST_CASE("codes are finite and reach both ends; bits have their density") {
  Draw draw;
  std::set<double> seen;
  for (const double code : draw.values("codes", "codes")) {
    CHECK_FALSE(std::isnan(code));
    seen.insert(code);
  }
  CHECK(seen.contains(448));
  CHECK(seen.contains(-448));
  CHECK(seen.size() > 240);
  draw.values("words", "bits", {{"density", 0.25}});
  std::size_t set = 0;
  for (const std::byte byte : draw.raw)
    set += static_cast<std::size_t>(std::popcount(static_cast<unsigned>(byte)));
  CHECK(static_cast<double>(set) / static_cast<double>(draw.raw.size() * 8) == Approx(0.25).epsilon(0.06));
}

TEST_CASE("an index set is distinct, in its range, and knows its own block") {
  Draw draw;
  const auto set = draw.values("idx", "index_set", {{"limit", 20}});
  for (std::size_t row = 0; row < k_b * k_s * k_g; ++row) {
    const std::set<double> row_set(set.begin() + static_cast<std::ptrdiff_t>(row * 8),
                                   set.begin() + static_cast<std::ptrdiff_t>(row * 8 + 8));
    CHECK(row_set.size() == 8);
    CHECK((*row_set.begin() >= 0 && *row_set.rbegin() < 20));
  }
  const auto causal = draw.values("idx", "index_set", {{"block", 4}});
  for (std::size_t s = 0; s < k_s; ++s) {
    const std::size_t row = (s * k_g) * 8;
    std::set<double> chosen;
    for (std::size_t e = 0; e < 8; ++e) {
      const double index = causal[row + e];
      if (e == 0) CHECK(index == static_cast<double>(s / 4));
      CHECK((e <= s / 4) == (index >= 0));
      if (index >= 0) CHECK(chosen.insert(index).second);
      CHECK(index <= static_cast<double>(s / 4));
    }
  }
}

TEST_CASE("a hidden family leaves most sequences and every beginning nominal") {
  Draw draw("a", 0.4);
  const auto values = draw.values("k", "constant", {{"value", 1000}});
  std::size_t stressed = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] != 1000) continue;
    ++stressed;
    CHECK(i >= values.size() / 4);
  }
  CHECK(stressed > 0);
  CHECK(stressed < values.size() / 2);
}

TEST_CASE("the same key draws the same bits, another key others") {
  CHECK(Draw("a").values("k", "normal") != Draw("b").values("k", "normal"));
  Draw first("a"), second("a");
  first.values("k", "normal");
  second.values("k", "normal");
  CHECK(first.raw == second.raw);
}
