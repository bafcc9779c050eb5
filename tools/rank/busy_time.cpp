// SPDX-License-Identifier: Apache-2.0
// A sweep over the launches of each GPU in the order of their starts.
#include "tools/rank/busy_time.h"

#include <algorithm>
#include <limits>
#include <map>
#include <queue>

#include "engine/core/error.h"

namespace kernelites {
namespace {

/// One GPU's time so far: which groups run now, and since when.
class Sweep {
 public:
  Sweep(std::size_t groups, double factor) : running_(groups), times_(groups), kept_(1 - 1 / factor) {}

  void start(std::uint32_t group, double start_us, double end_us) {
    end_until(start_us);
    move_to(start_us);
    Stretch& stretch = running_[group];
    if (stretch.launches++ == 0) {
      stretch.start_us = start_us;
      stretch.alone_us = 0;
      ++groups_now_;
      sum_of_groups_now_ += group;
    }
    ends_.emplace(end_us, group);
  }

  const std::vector<GroupTime>& finish() {
    end_until(std::numeric_limits<double>::infinity());
    return times_;
  }

 private:
  /// A time in which some kernel of a group always ran.
  struct Stretch {
    std::uint64_t launches = 0;  // that run now
    double start_us = 0;
    double alone_us = 0;
  };

  /// Ends before `time_us`: those at it are still beside what starts then, for no time.
  void end_until(double time_us) {
    while (!ends_.empty() && ends_.top().first < time_us) {
      const auto [end_us, group] = ends_.top();
      ends_.pop();
      move_to(end_us);
      Stretch& stretch = running_[group];
      if (--stretch.launches > 0) continue;
      --groups_now_;
      sum_of_groups_now_ -= group;
      times_[group].alone_us += stretch.alone_us;
      times_[group].saved_us += std::min(stretch.alone_us, kept_ * (end_us - stretch.start_us));
    }
  }

  void move_to(double time_us) {
    // The sum of one number is that number.
    if (groups_now_ == 1) running_[sum_of_groups_now_].alone_us += time_us - now_us_;
    now_us_ = time_us;
  }

  std::vector<Stretch> running_;
  std::vector<GroupTime> times_;
  double kept_;
  double now_us_ = 0;
  std::size_t groups_now_ = 0;
  std::uint64_t sum_of_groups_now_ = 0;
  using End = std::pair<double, std::uint32_t>;
  std::priority_queue<End, std::vector<End>, std::greater<>> ends_;
};

}  // namespace

std::vector<GroupTime> group_times(const KernelTrace& trace, const std::vector<std::uint32_t>& group_of_use,
                                   std::size_t groups, double factor) {
  KERNELITES_ASSERT(factor > 1 && group_of_use.size() == trace.kernels.size());
  std::map<std::uint32_t, Sweep> gpus;
  for (const LaunchSpan& span : trace.spans)
    gpus.try_emplace(span.gpu, groups, factor)
        .first->second.start(group_of_use[span.use], span.start_us, span.end_us);
  std::vector<GroupTime> times(groups);
  for (auto& [gpu, sweep] : gpus) {
    const std::vector<GroupTime>& its = sweep.finish();
    for (std::size_t i = 0; i < groups; ++i) {
      times[i].alone_us += its[i].alone_us / static_cast<double>(gpus.size());
      times[i].saved_us += its[i].saved_us / static_cast<double>(gpus.size());
    }
  }
  return times;
}

double whole_speedup(double whole_us, double saved_us) {
  if (saved_us <= 0) return 1;
  return whole_us > saved_us + whole_us / k_speedup_max ? whole_us / (whole_us - saved_us) : k_speedup_max;
}

}  // namespace kernelites
