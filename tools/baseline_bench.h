// SPDX-License-Identifier: Apache-2.0
// Seeds beside the kernels of libraries: the task's baseline.py or a user's, in a process of Python.
#pragma once

#include <string>
#include <vector>

#include "tools/command_line.h"
#include "tools/data_root.h"

namespace kernelites {

struct BaselineBench {
  std::vector<Seed> seeds;  ///< candidates that were proven, or whose proof is left to another machine
  std::vector<std::string> workloads;  ///< all bench workloads if empty
  std::string file;                    ///< a user's baseline.py; the task's own if empty
  std::string
      batch;  ///< a folder: the job is written there, and its results are read there once they are there
  std::string python = "python3";
  std::string worker;
  std::string log;       ///< what the process of Python and the worker say
  std::string record;    ///< also put the figures into this JSON file
  int rounds = 60;       ///< at most
  double limit_s = 3;    ///< rounds end after so many seconds at each workload
  bool is_json = false;  ///< print the table as JSON
};

/// True if the task names baselines that can be run.
bool has_baselines(const Task& task);

/// One job line of evaluators/baseline/baseline_batch.py. Throws ConfigError if there is no baseline.py.
Json baseline_job(const Task& task, const BaselineBench& bench);

/// Times and prints. Throws ConfigError for wrong input, Error with what this machine lacks.
void bench_baselines(const Task& task, const BaselineBench& bench, const DataRoot& data, Program& program);

}  // namespace kernelites
