// SPDX-License-Identifier: Apache-2.0
// Requests to workers by commands that need no run: one or many, with their replies.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/core/task.h"
#include "evaluators/worker_pool.h"

namespace kernelites {

/// Sends all requests, and calls `on_reply` for each as they come.
void ask_all(Evaluator& evaluator, const std::map<std::string, Request>& requests,
             const std::function<void(const Reply&)>& on_reply);

/// Proves one candidate. Throws Error if no examination comes.
Examination examine(Evaluator& evaluator, const Task& task, const std::string& device, const std::string& id,
                    const Candidate& candidate);

/// A duel over all bench workloads, or those of `workloads`; arm 0 is the one that ratios are told of. Modelled times
/// can be compared with those of other duels of the same `model_key`.
Request duel_request(const Task& task, const std::string& device, const std::string& id,
                     std::vector<DuelArm> arms, int rounds, std::vector<std::string> workloads = {},
                     const Key& model_key = Key::random());
/// The same, sent. Throws Error if no duel comes.
Duel duel(Evaluator& evaluator, const Task& task, const std::string& device, std::vector<DuelArm> arms,
          int rounds, std::vector<std::string> workloads = {}, const Key& model_key = Key::random());

/// The A/A null: a kernel against itself, under the label "same". Whatever differs is noise.
Duel null_comparison(Evaluator& evaluator, const Task& task, const std::string& device,
                     const Candidate& candidate, int rounds, std::vector<std::string> workloads = {});

/// Hardware counters of a proven candidate at some bench workloads. Throws Error if no profile comes.
Profile counters_of(Evaluator& evaluator, const Task& task, const std::string& device,
                    const Candidate& candidate, const std::vector<std::string>& workloads);

}  // namespace kernelites
