// SPDX-License-Identifier: Apache-2.0
// Times an exported library: the dispatcher and every arm at every bench workload, host time per call, graph replays.
//
// As the search times: caches cold (the L2 evicted before every launch), 20 us in which the host enqueues, events
// around the launches, samples of all arms interleaved in every round. A sample is the mean of the middle half of its
// launches.
// Prints JSON; `kernelites export --confirm FILE` makes the dispatch from it.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "tools/exporting/runtime/library_rig.h"

namespace KERNELITES_LIBRARY {
namespace {

const CaseTable& k_table = k_case_table;
constexpr double k_sample_us = 600;
constexpr int k_launches_max = 32;
constexpr int k_host_calls = 100, k_host_repeats = 21;

double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1) + 0.5)];
}

/// What is timed: a launch by an arm, by the dispatcher, or a graph.
struct Subject {
  std::string name;
  int arm = k_any_arm;
  void* graph = nullptr;
  std::vector<double> samples;
};

class Bench {
 public:
  Bench(Rig& rig, void* library) : rig_(rig), library_(library) {
    for (int i = 0; i < k_launches_max; ++i) {
      begin_.push_back(nullptr), end_.push_back(nullptr);
      check(driver().event_create(&begin_.back(), 0), "cuEventCreate");
      check(driver().event_create(&end_.back(), 0), "cuEventCreate");
    }
  }

  void run(const Case& test, int rounds, bool is_last) {
    CaseMemory memory = rig_.prepare(test, 0, library_, test.dims);
    rig_.poison(memory, library_);
    std::vector<Subject> subjects = subjects_of(test, memory);
    for (Subject& subject : subjects) sample(test, memory, subject, 4);  // warm
    double fastest = 1e30;
    for (Subject& subject : subjects) fastest = std::min(fastest, sample(test, memory, subject, 4));
    const int launches = std::clamp(static_cast<int>(k_sample_us / fastest + 0.5), 1, k_launches_max);
    for (int round = 0; round < rounds; ++round)
      for (std::size_t i = 0; i < subjects.size(); ++i) {
        Subject& subject = subjects[(i + static_cast<std::size_t>(round)) % subjects.size()];
        subject.samples.push_back(sample(test, memory, subject, launches));
      }
    print(test, subjects, memory, launches);
    if (test.draws > 1) {
      // The same graph with other lengths on the device.
      rig_.upload_metadata(test, 1, memory);
      Subject& graph = subjects.back();
      std::vector<double> samples;
      for (int round = 0; round < rounds; ++round) samples.push_back(sample(test, memory, graph, launches));
      std::printf(", \"graph_other_lengths_us\": %.3f", quantile(samples, 0.5));
    }
    std::printf("}%s\n", is_last ? "" : ",");
    std::fflush(stdout);
    rig_.release(memory);
  }

 private:
  void launch_subject(const Case& test, const CaseMemory& memory, const Subject& subject) {
    if (subject.graph != nullptr) {
      check(driver().graph_launch(subject.graph, rig_.stream()), "cuGraphLaunch");
      return;
    }
    const std::vector<void*> pointers = memory.pointers();
    if (public_launch(library_, subject.arm, test.dims, k_table.scalars, pointers.data(),
                      reinterpret_cast<void*>(memory.workspace.address), memory.workspace.bytes,
                      rig_.stream()) != 0)
      give_up(public_error());
  }

  std::vector<Subject> subjects_of(const Case& test, const CaseMemory& memory) {
    std::vector<Subject> subjects(1);
    subjects[0].name = "dispatcher";
    for (int arm = 0; arm < public_arm_count(); ++arm) {
      std::size_t bytes = 0;
      if (public_workspace(library_, arm, test.dims, k_table.scalars, &bytes) != 0) continue;
      Subject subject;
      subject.name = "arm_" + std::to_string(arm);
      subject.arm = arm;
      subjects.push_back(subject);
    }
    Subject graph;
    graph.name = "graph";
    void* captured = nullptr;
    check(driver().capture_begin(rig_.stream(), 2), "cuStreamBeginCapture");
    launch_subject(test, memory, subjects[0]);
    check(driver().capture_end(rig_.stream(), &captured), "cuStreamEndCapture");
    check(driver().graph_instantiate(&graph.graph, captured, 0), "cuGraphInstantiate");
    subjects.push_back(graph);
    return subjects;
  }

  /// Microseconds.
  double sample(const Case& test, const CaseMemory& memory, const Subject& subject, int launches) {
    for (int i = 0; i < launches; ++i) {
      rig_.before_launch();
      check(driver().event_record(begin_[static_cast<std::size_t>(i)], rig_.stream()), "cuEventRecord");
      launch_subject(test, memory, subject);
      check(driver().event_record(end_[static_cast<std::size_t>(i)], rig_.stream()), "cuEventRecord");
    }
    rig_.synchronise();
    std::vector<double> times;
    for (int i = 0; i < launches; ++i) {
      float ms = 0;
      check(
          driver().event_elapsed(&ms, begin_[static_cast<std::size_t>(i)], end_[static_cast<std::size_t>(i)]),
          "cuEventElapsedTime");
      times.push_back(1000.0 * static_cast<double>(ms));
    }
    std::sort(times.begin(), times.end());
    const std::size_t quarter = times.size() / 4;
    double sum = 0;
    for (std::size_t i = quarter; i < times.size() - quarter; ++i) sum += times[i];
    return sum / static_cast<double>(times.size() - 2 * quarter);
  }

  /// Host microseconds of one call, and of one bare launch of the driver.
  template <typename Call>
  double host_us(Call call) {
    std::vector<double> times;
    for (int repeat = 0; repeat < k_host_repeats; ++repeat) {
      rig_.synchronise();
      const auto begin = std::chrono::steady_clock::now();
      for (int i = 0; i < k_host_calls; ++i) call();
      const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
      times.push_back(took.count() / k_host_calls);
    }
    rig_.synchronise();
    return quantile(times, 0.5);
  }

  void print(const Case& test, const std::vector<Subject>& subjects, const CaseMemory& memory, int launches) {
    std::printf("  {\"workload\": \"%s\", \"dims\": [", test.workload);
    for (int i = 0; i < k_table.dim_count; ++i) std::printf("%s%lld", i > 0 ? ", " : "", test.dims[i]);
    std::printf("], \"choice\": %d, \"rounds\": %zu, \"launches_each\": %d",
                public_choice(library_, test.dims, k_table.scalars), subjects[0].samples.size(), launches);
    for (const Subject& subject : subjects)
      std::printf(", \"%s\": {\"time_us_median\": %.3f, \"time_us_p10\": %.3f, \"time_us_p90\": %.3f}",
                  subject.name.c_str(), quantile(subject.samples, 0.5), quantile(subject.samples, 0.1),
                  quantile(subject.samples, 0.9));
    const double call = host_us([&] { launch_subject(test, memory, subjects[0]); });
    const double bare = host_us([&] { rig_.trivial_launch(); });
    std::printf(", \"host_us_per_call\": %.3f, \"host_us_bare_launch\": %.3f, \"host_calls\": %d", call, bare,
                k_host_calls * k_host_repeats);
  }

  Rig& rig_;
  void* library_;
  std::vector<void*> begin_, end_;
};

int run_all(int rounds) {
  Rig rig;
  void* library = nullptr;
  if (public_open(&library) != 0) give_up(public_error());
  Bench bench(rig, library);
  std::printf(
      "{\"kernelites_bench\": 1, \"library\": \"%s\", \"device\": \"%s\", \"driver\": %d, \"arms\": [",
      k_table.name, rig.device_name().c_str(), rig.driver_version());
  for (int arm = 0; arm < public_arm_count(); ++arm)
    std::printf("%s\"%s\"", arm > 0 ? ", " : "", public_arm_id(arm));
  std::printf("],\n \"workloads\": [\n");
  int last = -1;
  for (int i = 0; i < k_table.case_count; ++i)
    if (k_table.cases[i].is_bench && k_table.cases[i].metadata != nullptr) last = i;
  for (int i = 0; i <= last; ++i)
    if (k_table.cases[i].is_bench && k_table.cases[i].metadata != nullptr)
      bench.run(k_table.cases[i], rounds, i == last);
  std::printf(" ]}\n");
  return last < 0 ? 1 : 0;
}

}  // namespace
}  // namespace KERNELITES_LIBRARY

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 30;
  return KERNELITES_LIBRARY::run_all(std::clamp(rounds, 1, 1000));
}
