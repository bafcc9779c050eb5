// SPDX-License-Identifier: Apache-2.0
// Requests by commands.
#include "tools/evaluation_requests.h"

#include <poll.h>

#include "engine/core/error.h"
#include "tools/worker_setup.h"

namespace kernelites {
namespace {

constexpr double k_examine_s_max = 600, k_duel_s_max = 1200;
constexpr int k_poll_ms = 100;

}  // namespace

void ask_all(Evaluator& evaluator, const std::map<std::string, Request>& requests,
             const std::function<void(const Reply&)>& on_reply) {
  for (const auto& [id, request] : requests) evaluator.submit(request);
  for (std::size_t left = requests.size(); left > 0;) {
    evaluator.pump(std::chrono::steady_clock::now());
    while (auto reply = evaluator.take()) {
      on_reply(*reply);
      --left;
    }
    std::vector<pollfd> descriptors = evaluator.poll_descriptors();
    if (left > 0) poll(descriptors.data(), descriptors.size(), k_poll_ms);
  }
}

Examination examine(Evaluator& evaluator, const Task& task, const std::string& device, const std::string& id,
                    const Candidate& candidate) {
  Request request = request_for(task, device, id, k_examine_s_max);
  request.examine = ExamineRequest{.candidate = candidate, .key = Key::random()};
  const Reply reply = ask_worker(evaluator, request);
  if (!reply.examination) throw Error("the worker's reply holds no examination");
  return *reply.examination;
}

Request duel_request(const Task& task, const std::string& device, const std::string& id,
                     std::vector<DuelArm> arms, int rounds, std::vector<std::string> workloads,
                     const Key& model_key) {
  Request request = request_for(task, device, id, k_duel_s_max);
  DuelRequest duel{.arms = std::move(arms),
                   .workloads = std::move(workloads),
                   .rounds = rounds,
                   .key = Key::random(),
                   .model_key = model_key};
  if (duel.workloads.empty()) {
    for (const Workload& workload : task.bench) duel.workloads.push_back(workload.name);
  }
  request.duel = std::move(duel);
  return request;
}

Duel duel(Evaluator& evaluator, const Task& task, const std::string& device, std::vector<DuelArm> arms,
          int rounds, std::vector<std::string> workloads, const Key& model_key) {
  const Reply reply = ask_worker(evaluator, duel_request(task, device, "duel", std::move(arms), rounds,
                                                         std::move(workloads), model_key));
  if (!reply.duel) throw Error("the worker's reply holds no duel");
  return *reply.duel;
}

Duel null_comparison(Evaluator& evaluator, const Task& task, const std::string& device,
                     const Candidate& candidate, int rounds, std::vector<std::string> workloads) {
  return duel(evaluator, task, device, {{"kernel", candidate}, {"same", candidate}}, rounds,
              std::move(workloads));
}

Profile counters_of(Evaluator& evaluator, const Task& task, const std::string& device,
                    const Candidate& candidate, const std::vector<std::string>& workloads) {
  Request request = request_for(task, device, "profile", k_examine_s_max);
  request.profile = ProfileRequest{.candidate = candidate, .workloads = workloads, .key = Key::random()};
  const Reply reply = ask_worker(evaluator, request);
  if (!reply.profile) throw Error("the worker's reply holds no profile");
  return *reply.profile;
}

}  // namespace kernelites
