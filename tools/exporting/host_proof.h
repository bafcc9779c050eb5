// SPDX-License-Identifier: Apache-2.0
// Proves that a plan as host code says what the constant evaluator says, shape by shape.
//
// The plan's file is compiled by the user's host compiler and run, both in a jail: a scratch folder, no network, a
// deadline. It runs only if its object file is a function and constants (plan_object.h). What it answers are the
// words of its plans, of which only digests are compared.
#pragma once

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "engine/core/device_facts.h"
#include "engine/core/task.h"
#include "tools/exporting/library_domain.h"

namespace kernelites {

/// Shapes with everything else that a plan depends on.
struct ProofBatch {
  DeviceFacts device;
  std::map<std::string, double> scalars;
  std::vector<Shape> shapes;
};

/// `count` shapes of the domain: most with the task's scalars on the run's device, some with other scalars, some on
/// devices of the same architecture with fewer multiprocessors.
std::vector<ProofBatch> proof_batches(const Task& task, const LibraryDomain& domain,
                                      const DeviceFacts& device, std::size_t count);

/// Why there are no digests: the compiler's first words, a crash, a deadline.
struct HostProblem {
  std::string words;
};

/// By batch and shape the SHA-256 of the plan's words. `label`: of the arm whose plan `source` is.
using PlanDigests = std::vector<std::vector<std::string>>;
std::variant<PlanDigests, HostProblem> host_digests(const Task& task, const std::string& label,
                                                    const std::string& source, const std::string& compiler,
                                                    const std::vector<ProofBatch>& batches);

}  // namespace kernelites
