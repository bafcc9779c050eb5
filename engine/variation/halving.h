// SPDX-License-Identifier: Apache-2.0
// Sequential halving: many arms are timed with few rounds, the better half of them again with twice as many, and so on.
//
// Karnin, Koren, Somekh, "Almost optimal exploration in multi-armed bandits", ICML 2013. Here an arm also stays in
// while it is the fastest at one workload: dispatch wants the fastest of each.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace kernelites {

/// The arms that are timed together next, and with how many rounds.
struct Heat {
  std::vector<std::size_t> arms;
  int rounds = 0;
};

/// A value: what was told, and nothing else, decides what comes next.
class Halving {
 public:
  /// Arms 0 to `count` - 1; the last heat has `rounds_max` rounds, the one before half as many, none less than
  /// `rounds_min`. REQUIRES: count > 0.
  Halving(std::size_t count, int rounds_max, int rounds_min = 4);

  /// The next heat; nothing when the last is told.
  std::optional<Heat> next() const;
  /// Log speed-ups of the present heat's arms over one reference, by workload; an arm that is missing, or that has no
  /// workloads, is out. Results of several heats are averaged by their rounds.
  void tell(const std::map<std::size_t, std::map<std::string, double>>& log_speedups);

  /// The fastest by the mean over workloads, among those that went furthest; meaningful once `next` gives nothing.
  std::size_t winner() const { return live_.empty() ? 0 : live_.front(); }
  /// What is known of an arm.
  std::map<std::string, double> log_speedups(std::size_t arm) const;

 private:
  struct Sum {
    double sum = 0;
    int rounds = 0;
  };
  double mean_of(std::size_t arm) const;

  std::vector<std::map<std::string, Sum>> sums_;
  std::vector<std::size_t> live_;  // best first, once something was told
  int heats_left_ = 0;
  int rounds_max_ = 0, rounds_min_ = 0;
};

}  // namespace kernelites
