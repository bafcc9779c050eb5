// SPDX-License-Identifier: Apache-2.0
// What the virtual GPU's choice of shapes and families promises.
#include "evaluators/worker/pipeline/check_pairs.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "tests/support/catch.h"

using namespace kernelites::worker;

namespace {

using Pairs = std::vector<std::vector<std::size_t>>;

std::set<std::size_t> families_met(const Pairs& pairs) {
  std::set<std::size_t> met;
  for (const auto& families : pairs) met.insert(families.begin(), families.end());
  return met;
}

std::size_t count(const Pairs& pairs) {
  return std::accumulate(pairs.begin(), pairs.end(), std::size_t{0},
                         [](std::size_t sum, const auto& families) { return sum + families.size(); });
}

const std::vector<double> k_cheap(11, 1e3), k_mixed{1e3, 1e4, 1e5, 1e6, 1e7, 5e7, 9e7};

}  // namespace

TEST_CASE(
    "every family meets a shape and every shape two families, first of all family 0, whatever the cost") {
  for (std::size_t first = 0; first < 21; ++first) {
    const Pairs pairs = choose_pairs({5e8, 7e8, 6e8}, 21, first);
    CHECK(families_met(pairs).size() == 21);
    for (const auto& families : pairs) {
      CHECK(families.front() == 0);
      CHECK(families.size() >= 2);
      CHECK(std::set<std::size_t>(families.begin(), families.end()).size() == families.size());
    }
  }
}

TEST_CASE("every family meets a shape of the larger three fifths: a single key shows no dropped tail") {
  for (const std::vector<double>& flops : {k_mixed, k_cheap, std::vector<double>{1, 2, 3e9, 4e9, 5e9}}) {
    std::vector<double> sorted = flops;
    std::sort(sorted.begin(), sorted.end());
    for (std::size_t first = 0; first < 24; ++first) {
      const Pairs pairs = choose_pairs(flops, 24, first);
      std::set<std::size_t> met;
      for (std::size_t shape = 0; shape < flops.size(); ++shape) {
        if (flops[shape] < sorted[flops.size() * 2 / 5]) continue;
        met.insert(pairs[shape].begin(), pairs[shape].end());
      }
      CHECK(met.size() == 24);
    }
  }
}

TEST_CASE("cheap shapes are tried up to the number of pairs") {
  CHECK(count(choose_pairs(k_cheap, 21, 3)) == k_virtual_check_pairs);
}

TEST_CASE("dear shapes are tried with two families, cheap ones with more") {
  const Pairs pairs = choose_pairs(k_mixed, 10, 4);
  CHECK(pairs.back().size() == 2);
  CHECK(pairs.front().size() > 3);
}

TEST_CASE("what is tried beyond the necessary stays within the work that it may cost") {
  const Pairs pairs = choose_pairs(k_mixed, 5, 4);
  double flops = 0;
  for (std::size_t i = 0; i < k_mixed.size(); ++i)
    flops += k_mixed[i] * static_cast<double>(pairs[i].size() - 2);
  CHECK(flops <= k_virtual_check_flops);
}

TEST_CASE("another draw gives other pairs") {
  CHECK(choose_pairs(k_mixed, 10, 1) != choose_pairs(k_mixed, 10, 5));
}

TEST_CASE("a task with one family tries it at every shape") {
  CHECK(choose_pairs(k_mixed, 1, 0) == Pairs(k_mixed.size(), {0}));
}
