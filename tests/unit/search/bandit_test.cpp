// SPDX-License-Identifier: Apache-2.0
// The bandit: shares, costs, fading, floors, and the same state from any order; and what elites are worth.
#include "engine/search/bandit.h"

#include <cmath>

#include "engine/search/elite_gains.h"
#include "tests/support/catch.h"

using namespace kernelites;

namespace {

const Arm k_refine{"refine", "small", "v1"}, k_edit{"edit", "large", "v1"}, k_tune{"tune", "", ""};

std::vector<ArmWeight> three_arms() { return {{k_refine, 1}, {k_edit, 1}, {k_tune, 1}}; }

/// A variation that cost `usd` and brought an elite of `bits` (0: none).
ArmSums pull(double bits, double usd) {
  return {.variations = 1,
          .elites = bits > 0 ? 1 : 0,
          .gain_ubits = static_cast<std::int64_t>(1e6 * bits),
          .cost_uusd = static_cast<std::int64_t>(1e6 * usd)};
}

/// So many rounds over all arms; arm i brings gains at a rate of `rates[i]`.
void play(Bandit& bandit, const std::vector<double>& rates, const std::vector<double>& usd, int rounds,
          std::uint64_t first = 1) {
  Rng rng(first);
  const auto arms = three_arms();
  for (int round = 0; round < rounds; ++round)
    for (std::size_t i = 0; i < arms.size(); ++i)
      bandit.add(arms[i].arm, first + 3 * static_cast<std::uint64_t>(round) + i,
                 pull(rng.uniform() < rates[i] ? 0.05 : 0, usd[i]));
}

}  // namespace

TEST_CASE("a bandit that has seen nothing draws by the weights") {
  const Bandit bandit;
  const std::vector<ArmWeight> arms{{k_refine, 3}, {k_edit, 1}, {k_tune, 0}};
  const auto shares = bandit.shares(arms);
  CHECK(shares[0] == Approx(0.75).margin(0.03));
  CHECK(shares[1] == Approx(0.25).margin(0.03));
  CHECK(shares[2] == 0);
}

TEST_CASE("the arm that gains most gets most, and the others keep the floor") {
  Bandit bandit({.floor = 0.3});
  play(bandit, {0.3, 0.05, 0.02}, {0.01, 0.01, 0.01}, 60);
  const auto shares = bandit.shares(three_arms());
  CHECK(shares[0] > 0.75);
  CHECK(shares[1] >= 0.09);
  CHECK(shares[2] >= 0.09);
  CHECK(shares[0] + shares[1] + shares[2] == Approx(1));
}

TEST_CASE("gains count per dollar: a dear arm must gain more") {
  Bandit bandit;
  play(bandit, {0.2, 0.3, 0}, {0.01, 0.1, 0.01}, 60);
  auto shares = bandit.shares(three_arms());
  CHECK(shares[0] > 2 * shares[1]);
  Bandit other;
  play(other, {0.1, 0.3, 0}, {0.01, 0.015, 0.01}, 60);
  shares = other.shares(three_arms());
  CHECK(shares[1] > 2 * shares[0]);
}

TEST_CASE("what costs nothing in money costs the device, and nothing is free") {
  Bandit bandit({.usd_per_variation = 0.01});
  play(bandit, {0.2, 0, 0}, {0, 0, 0}, 60);
  CHECK(bandit.recent_gain(k_refine) > 0);
  CHECK(bandit.shares(three_arms())[0] > 0.7);
}

TEST_CASE("an arm that was good long ago loses its share to one that is good now") {
  Bandit bandit({.half_life = 50});
  play(bandit, {0.4, 0.02, 0.02}, {0.01, 0.01, 0.01}, 50, 1);
  CHECK(bandit.shares(three_arms())[0] > 0.6);
  play(bandit, {0.0, 0.2, 0.0}, {0.01, 0.01, 0.01}, 100, 1000);
  CHECK(bandit.shares(three_arms())[1] > 0.6);
}

TEST_CASE("gains that all shrink leave the shares as they are") {
  const auto shares_at = [](double scale) {
    Bandit bandit;
    Rng rng(3);
    const auto arms = three_arms();
    for (std::uint64_t i = 0; i < 300; ++i)
      bandit.add(arms[i % 3].arm, i,
                 pull(rng.uniform() < 0.1 * static_cast<double>(i % 3) ? scale : 0, 0.01));
    return bandit.shares(arms);
  };
  const auto large = shares_at(0.5), small = shares_at(0.001);
  for (std::size_t i = 0; i < 3; ++i) CHECK(large[i] == Approx(small[i]).margin(0.001));
}

TEST_CASE("any order of adding, whole or in parts, gives the same draws") {
  std::vector<std::pair<std::uint64_t, ArmSums>> pulls;
  Rng rng(5);
  for (std::uint64_t i = 0; i < 3000; ++i) pulls.push_back({i, pull(rng.uniform() < 0.1 ? 0.03 : 0, 0.01)});
  const auto arms = three_arms();
  Bandit in_order({.half_life = 20}), shuffled({.half_life = 20});
  for (const auto& [ordinal, sums] : pulls) in_order.add(arms[ordinal % 3].arm, ordinal, sums);
  rng.shuffle(pulls);
  for (const auto& [ordinal, sums] : pulls) {
    ArmSums cost = sums;
    cost.gain_ubits = cost.elites = 0;
    shuffled.add(arms[ordinal % 3].arm, ordinal, {.elites = sums.elites, .gain_ubits = sums.gain_ubits});
    shuffled.add(arms[ordinal % 3].arm, ordinal, cost);
  }
  CHECK(in_order.totals() == shuffled.totals());
  CHECK(in_order.shares(arms) == shuffled.shares(arms));
  CHECK(in_order.recent_gain(k_edit) == shuffled.recent_gain(k_edit));
}

TEST_CASE("an arm without weight is never drawn, and a floor of 1 goes by the weights") {
  Bandit bandit;
  play(bandit, {0.5, 0.1, 0}, {0.01, 0.01, 0.01}, 60);
  Rng rng(1);
  std::vector<int> count(3);
  for (int i = 0; i < 500; ++i)
    ++count[bandit.draw(std::vector<ArmWeight>{{k_refine, 0}, {k_edit, 1}, {k_tune, 1}}, rng)];
  CHECK(count[0] == 0);
  Bandit level({.floor = 1});
  play(level, {0.5, 0.1, 0}, {0.01, 0.01, 0.01}, 60);
  for (const double share : level.shares(three_arms())) CHECK(share == Approx(1.0 / 3).margin(0.03));
}

TEST_CASE("a bandit that is off draws by the weights, whatever it has seen") {
  Bandit bandit({.is_on = false});
  play(bandit, {0.5, 0, 0}, {0.01, 0.01, 0.01}, 60);
  CHECK(bandit.shares(three_arms()) == weight_shares(three_arms()));
}

TEST_CASE("an arm that was never tried gets about as much as the average of the others") {
  Bandit bandit;
  for (std::uint64_t i = 0; i < 200; ++i) bandit.add(k_refine, i, pull(i % 5 == 0 ? 0.05 : 0, 0.01));
  const auto shares = bandit.shares(std::vector<ArmWeight>{{k_refine, 1}, {k_edit, 1}});
  CHECK(shares[1] > 0.2);
  CHECK(shares[1] < 0.6);
}

TEST_CASE("an improvement is worth its gain in bits, and the fastest of all counts twice") {
  EliteGains gains;
  CHECK(gains.take("added", "a", 1).bits > 0);
  CHECK(gains.take("added", "b", 4).is_best);
  const EliteGain inside = gains.take("improved", "a", 2);
  CHECK(inside.bits == Approx(1));
  CHECK_FALSE(inside.is_best);
  const EliteGain best = gains.take("improved", "b", 8);
  CHECK(best.bits == Approx(2));
  CHECK(best.is_best);
}

TEST_CASE("a new cell is worth the more the faster its founder is, and less than a real gain") {
  EliteGains gains;
  gains.take("added", "a", 2);
  const double slow = gains.take("added", "b", 0.5).bits, fast = gains.take("added", "c", 1.9).bits;
  CHECK(slow > 0);
  CHECK(fast > 2 * slow);
  CHECK(fast < 0.15);
}

TEST_CASE("what is renewed or withdrawn is worth nothing, and what is measured anew is the new measure") {
  EliteGains gains;
  gains.take("added", "a", 2);
  CHECK(gains.take("renewed", "a", 1).bits == 0);
  CHECK(gains.take("improved", "a", 1.5).bits == Approx(std::log2(1.5)));
  CHECK(gains.take("withdrawn", "a", 1.5).bits == 0);
  CHECK(gains.take("added", "a", 1).bits < 0.1);
}
