// SPDX-License-Identifier: Apache-2.0
// A frozen landscape: every point of one kernel's space of strategies and tunables, measured once on a device.
//
// Policies of the search are compared in landscapes, where an evaluation costs a look into a table and everybody meets
// the same kernels. docs/landscapes.md tells how the data were made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/core/candidate.h"
#include "engine/core/evaluation.h"

namespace kernelites {

/// One tuning of the kernel, and what became of it.
struct LandscapePoint {
  std::string stage, reason;  ///< of its verdict; "all" and "passed" where it passed
  std::size_t twin = 0;       ///< first point with the same code and launches; mostly itself
  std::vector<double> time_us, time_us_p10, time_us_p90;  ///< by workload; empty if it failed
  std::vector<std::vector<double>> again;                 ///< medians of further duels: the noise
  Descriptors descriptors;                                ///< empty where it did not compile
  std::map<std::string, std::int64_t> facts;              ///< "registers", "shared_bytes", "spill_bytes", ...
  StaticCounts counts;                                    ///< of its PTX

  bool is_passed() const { return reason == "passed"; }
};

/// The points of one kernel. Point i is the i-th tuning of the product of `tunables`, the last one fastest; point 0 is
/// the default, which passed.
struct Landscape {
  std::string name;    ///< of the task
  std::string kernel;  ///< file beside the data
  std::string device, date, toolkit, commit;
  std::vector<Tunable> tunables;
  std::vector<std::string> workloads;
  std::vector<LandscapePoint> points;

  std::map<std::string, std::int64_t> tuning(std::size_t point) const;
  /// REQUIRES: a value of every tunable, each one that it may have.
  std::size_t point_of(const std::map<std::string, std::int64_t>& tuning) const;
  /// Points that differ in one tunable, in any of its other values.
  std::vector<std::size_t> neighbours(std::size_t point) const;
  /// Number of tunables in which two points differ.
  int distance(std::size_t a, std::size_t b) const;
  /// How many times faster than the default, the geometric mean over the workloads; 0 for a point that failed.
  double speedup(std::size_t point) const;
  /// The fastest point.
  std::size_t best() const;
};

/// How hard a landscape is to climb.
struct Ruggedness {
  double failed_share = 0;  ///< of all points
  double twin_share = 0;    ///< of the passed points: the same code as an earlier one
  std::size_t local_optima =
      0;  ///< passed points with no neighbour faster by more than `noise`, twins counted once
  int distance_to_best = 0;  ///< from the default
  double speedup_best = 0;
  double climb_median =
      0;  ///< steepest ascent from every passed point: median share of the best speed reached
  double climbed_to_best = 0;  ///< share of the passed points from which it comes within `noise` of the best
  double noise = 0;  ///< median of |log(time / time of the second duel)|, over workloads and repeated points
};
Ruggedness ruggedness_of(const Landscape& landscape);

/// Reads one data file. Throws ConfigError that names what is wrong: a row is missing, a twin or column is unknown.
Landscape load_landscape(const std::filesystem::path& file);

}  // namespace kernelites
