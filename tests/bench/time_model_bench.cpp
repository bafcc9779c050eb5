// SPDX-License-Identifier: Apache-2.0
// How well the time model ranks kernels against measured times; with --fit the parameters, and what a task gains that
// the fit has not seen. Built by name: time_model_bench tests/bench/time_model_h100.jsonl [--fit STEPS]
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <set>
#include <string>

#include "engine/core/statistics.h"
#include "tests/bench/model_ranking.h"

namespace {

using namespace kernelites;
using namespace kernelites::bench;
using worker::vgpu::ModelledDevice;

void print(const Ranking& ranking) {
  fmt::print(
      "| task | rows | at a workload | of the task | mean abs(ln) |\n| --- | --- | --- | --- | --- |\n");
  for (const TaskRanking& task : ranking.tasks)
    fmt::print("| {} | {} | {:.2f} | {:.2f} | {:.2f} |\n", task.task, task.kernels, task.at_workloads,
               task.of_task, task.log_error);
  fmt::print("median at a workload {:.2f}, median of a task {:.2f}, pooled {:.3f}, mean abs(ln) {:.3f}\n\n",
             ranking.median_at_workloads, ranking.median_of_task, ranking.pooled, ranking.log_error);
}

void print(const std::vector<PairAgreement>& rows) {
  fmt::print("| the model puts them apart | pairs | the device agrees |\n| --- | --- | --- |\n");
  for (const PairAgreement& row : rows)
    fmt::print("| {:.2f} {} | {} | {:.0f} % |\n", row.from,
               row.to < 1e6 ? fmt::format("to {:.2f}", row.to) : "or more", row.pairs,
               100.0 * row.agreed / std::max(row.pairs, 1));
  fmt::print("\n");
}

void print_parameters(const ModelledDevice& device) {
  for (const FittedParameter& parameter : fitted_parameters())
    fmt::print("{} = {:.4g}\n", parameter.name, device.*parameter.field);
  fmt::print("\n");
}

/// Every task ranked by a model that was fitted to the others.
void leave_one_out(const std::vector<MeasuredKernel>& kernels, int steps) {
  std::set<std::string> tasks;
  for (const MeasuredKernel& kernel : kernels) tasks.insert(kernel.task);
  std::vector<double> at_workloads, of_task, errors;
  for (const std::string& task : tasks) {
    std::vector<MeasuredKernel> seen, unseen;
    for (const MeasuredKernel& kernel : kernels) (kernel.task == task ? unseen : seen).push_back(kernel);
    const Ranking ranking = rank(unseen, fitted(seen, guessed(worker::vgpu::k_h100), steps, 1));
    at_workloads.push_back(ranking.median_at_workloads);
    of_task.push_back(ranking.median_of_task);
    errors.push_back(ranking.log_error);
  }
  fmt::print(
      "left out of the fit: median at a workload {:.2f}, median of a task {:.2f}, mean abs(ln) {:.3f} "
      "(n = {} tasks)\n",
      median(at_workloads), median(of_task), median(errors), tasks.size());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && !(argc == 4 && std::string(argv[2]) == "--fit")) {
    fmt::print(stderr, "usage: time_model_bench TABLE.jsonl [--fit STEPS]\n");
    return 2;
  }
  try {
    const std::vector<MeasuredKernel> kernels = load_measured(argv[1]);
    std::set<std::string> variants;
    for (const MeasuredKernel& kernel : kernels) variants.insert(kernel.task + kernel.arm);
    fmt::print("{} rows, {} kernels, modelled as {}\n\n", kernels.size(), variants.size(),
               worker::vgpu::k_h100.name);
    print(rank(kernels, worker::vgpu::k_h100));
    print(pair_agreement(kernels, worker::vgpu::k_h100));
    if (argc == 2) return 0;
    const int steps = std::max(1, std::atoi(argv[3]));
    fmt::print("without a fit, parameters as guessed:\n\n");
    print(rank(kernels, guessed(worker::vgpu::k_h100)));
    fmt::print("fitted to all rows from there on:\n\n");
    const ModelledDevice best = fitted(kernels, guessed(worker::vgpu::k_h100), steps, 1);
    print_parameters(best);
    print(rank(kernels, best));
    leave_one_out(kernels, steps);
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "time_model_bench: {}\n", error.what());
    return 3;
  }
}
