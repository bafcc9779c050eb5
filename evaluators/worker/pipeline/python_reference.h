// SPDX-License-Identifier: Apache-2.0
// A task's reference.py in a process of its own: inputs in, float64 outputs back.
//
// The interpreter runs in the jail of foreign programs (engine/jail): no network, no file but the system's, its own
// folders and a scratch folder; its environment holds nothing of ours. It imports PyTorch once and then answers one
// question after the other over its pipes (harness/reference_host.py has the format). It computes on the CPU. What it
// gives is compared on the device by the same gates as a reference.cu's.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "engine/core/task.h"
#include "evaluators/worker/pipeline/compare.h"
#include "evaluators/worker/pipeline/row_sample.h"

namespace kernelites::worker {

/// An output that is asked for.
struct PythonOutput {
  std::string name;  ///< with "_emulated" for what an honest kernel would give
  std::size_t group = 0;
  CompareOrder order;
};

class PythonReference {
 public:
  /// Starts nothing yet. REQUIRES: the task has a reference.py.
  explicit PythonReference(const Task& task);
  ~PythonReference();

  /// Digest of the task that it is for.
  const std::string& digest() const { return digest_; }
  /// The values of every output on its rows: all rows listed, then the columns of a row. `tensors` are by the task's
  /// order, empty for outputs. Throws ConfigError that names reference.py and says what is wrong with it, or that its
  /// interpreter or PyTorch is missing.
  std::vector<std::vector<double>> answer(const Task& task, const Workload& workload,
                                          const std::vector<std::vector<std::byte>>& tensors,
                                          const RowLists& rows, const std::vector<PythonOutput>& outputs);

 private:
  class Process;
  [[noreturn]] void fail(std::string problem);  ///< ends the process

  std::string file_;  ///< "<task>/reference.py", for errors
  std::string interpreter_, source_, digest_;
  std::unique_ptr<Process> process_;  ///< null until the first question, and after trouble
};

}  // namespace kernelites::worker
