// SPDX-License-Identifier: Apache-2.0
// Allocation, filling, running and comparing of one workload.
#include "evaluators/worker/pipeline/workload_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"
#include "engine/core/rng.h"

namespace kernelites::worker {
namespace {

std::int64_t tensor_bytes(const TensorSpec& tensor, const Workload& workload) {
  return element_count(tensor, workload) * static_cast<std::int64_t>(dtype_bytes(tensor.dtype));
}

/// Period of a repeated input: larger than any cache line or tile, small enough to be drawn in no time.
constexpr std::int64_t k_repeated_bytes = 512 * 1024;

/// The period of a repeated tensor as a shape of one token a row.
std::vector<std::int64_t> repeated_shape(const TensorSpec& tensor) {
  return {1, k_repeated_bytes / static_cast<std::int64_t>(dtype_bytes(tensor.dtype))};
}

bool is_written(Role role) { return role == Role::output || role == Role::inout; }

/// The family's fill for a tensor, else the tensor's own.
Fill chosen_fill(const TensorSpec& tensor, const InputFamily& family) {
  const auto chosen = family.fill.find(tensor.name);
  if (chosen != family.fill.end()) return chosen->second;
  return tensor.fill.empty() ? Fill{.kind = "normal"} : tensor.fill.front();
}

int tensor_index(const Task& task, const std::string& name) {
  for (std::size_t i = 0; i < task.tensors.size(); ++i) {
    if (task.tensors[i].name == name) return static_cast<int>(i);
  }
  throw Error(fmt::format("no tensor '{}'", name));
}

/// The larger, where NaN is larger than everything.
double worse(double a, double b) { return std::isnan(a) || a >= b ? a : b; }

OutputError judge(const std::string& name, const Precision& gate, const std::vector<RowResult>& rows) {
  OutputError error{.output = name};
  double worst = -1;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const RowResult& row = rows[i];
    // A NaN is kept, and fails: it is not at most 1.
    const double row_share = gate.row > 0 ? row.row / gate.row : 0;
    error.worst_row = worse(error.worst_row, row.row);
    error.row_share = worse(error.row_share, row_share);
    error.element_share = worse(error.element_share, row.element);
    error.mismatches += row.mismatch;
    const double badness = worse(row_share, row.element) + (row.mismatch > 0 ? 1e6 : 0);
    if (!(badness <= worst)) {
      worst = badness;
      error.worst_index = static_cast<std::int64_t>(i);
    }
  }
  return error;
}

}  // namespace

ModuleImage image_of(const CompiledCandidate& compiled) {
  ModuleImage image{.ptx = compiled.ptx, .cubin = compiled.cubin};
  for (const KernelResources& kernel : compiled.kernels) {
    const auto symbol = compiled.lowered.find(kernel.kernel);
    if (symbol != compiled.lowered.end()) image.registers[symbol->second] = kernel.registers;
  }
  return image;
}

std::size_t metadata_rotations(const Task& task) {
  std::size_t rotations = 1;
  for (const TensorSpec& tensor : task.tensors) {
    if (tensor.role == Role::metadata) rotations = std::max(rotations, tensor.fill.size());
  }
  return rotations;
}

std::int64_t workload_bytes(const Task& task, const Workload& workload) {
  std::int64_t bytes = 0;
  for (const TensorSpec& tensor : task.tensors) bytes += tensor_bytes(tensor, workload);
  return bytes;
}

WorkloadSession::WorkloadSession(Referee& referee, ExecutorClient& executor, const Task& task,
                                 const Workload& workload, bool is_modelled)
    : referee_(referee), executor_(executor), task_(task), workload_(workload), is_modelled_(is_modelled) {
  std::vector<Referee::Tensor> owned, seen;  // by the referee, by the executor
  std::vector<bool> is_writable;
  for (std::size_t i = 0; i < task.tensors.size(); ++i) {
    const TensorSpec& tensor = task.tensors[i];
    const std::int64_t bytes = std::max<std::int64_t>(tensor_bytes(tensor, workload), 1);
    const std::string name = fmt::format("tensor {}", tensor.name);
    seen.push_back({.name = name, .bytes = bytes});
    owned.push_back({.name = name, .bytes = is_repeated(tensor) ? k_repeated_bytes : bytes});
    is_writable.push_back(is_written(tensor.role));
    if (is_written(tensor.role))
      outputs_.push_back(static_cast<int>(i));
    else
      inputs_.push_back(i);
  }
  Referee::Allocation allocation = referee_.allocate(owned);
  referee_slot_ = allocation.slot;
  executor_slot_ = executor_.bind(seen, is_writable, allocation.descriptors);
}

bool WorkloadSession::is_repeated(const TensorSpec& tensor) const {
  return is_modelled_ && tensor.role == Role::input && tensor_bytes(tensor, workload_) > k_repeated_bytes;
}

WorkloadSession::~WorkloadSession() {
  try {
    executor_.unbind(executor_slot_);
    referee_.release(referee_slot_);
  } catch (const std::exception&) {
    // The referee is gone; the station replaces it before its next lease.
  }
}

void WorkloadSession::fill(const InputFamily& family, std::size_t rotation, const Key& key) {
  family_ = &family;
  placement_ = ++fills_ + key.derive("placement").seed() % k_placements;
  referee_.place(referee_slot_, placement_, key.derive("slack").seed());
  std::vector<Referee::FillOrder> orders;
  const auto has_invalid = [&](const std::string& lengths) {
    const TensorSpec& metadata = task_.tensor(lengths);
    return metadata.fill.at(rotation % metadata.fill.size()).kind != "lengths_full";
  };
  for (std::size_t i = 0; i < task_.tensors.size(); ++i) {
    const TensorSpec& tensor = task_.tensors[i];
    const std::uint64_t seed = key.derive("tensor", i).seed();
    if (tensor.role == Role::metadata) {
      const Fill& contents = tensor.fill.at(rotation % tensor.fill.size());
      referee_.write(referee_slot_, static_cast<int>(i),
                     metadata_contents(tensor, contents, workload_, seed));
    } else if (tensor.role != Role::output) {
      orders.push_back(
          {.tensor = static_cast<int>(i),
           .dtype = tensor.dtype,
           .shape = is_repeated(tensor) ? repeated_shape(tensor) : tensor_shape(tensor, workload_),
           .fill = device_fill(chosen_fill(tensor, family)),
           .seed = seed,
           .lengths = tensor.valid && !is_modelled_ && has_invalid(tensor.valid->lengths)
                          ? tensor_index(task_, tensor.valid->lengths)
                          : -1});
    }
  }
  // After all metadata is written: what is invalid depends on the lengths.
  if (!orders.empty()) referee_.fill(referee_slot_, orders);
  if (!is_modelled_) referee_.seal(referee_slot_, inputs_);
}

int WorkloadSession::add_arm(int module, const LaunchPlan& plan,
                             const std::map<std::string, std::string>& lowered) {
  return executor_.plan(executor_slot_, module, plan, lowered, outputs_);
}

double WorkloadSession::run(int arm, RunMode mode, std::uint64_t poison_seed, int poison_kind,
                            double deadline_s) {
  return run({.plan = arm,
              .mode = mode,
              .poison_seed = poison_seed,
              .poison_kind = poison_kind,
              .deadline_s = deadline_s});
}

double WorkloadSession::run(ExecutorClient::Run order) {
  order.placement = placement_;
  const double time_us = executor_.run(order);
  if (order.mode == RunMode::full && !executor_.fault() && !is_modelled_) inspect_inputs();
  return time_us;
}

void WorkloadSession::inspect_inputs() {
  const std::vector<std::size_t> changed = referee_.changed_inputs(referee_slot_);
  if (changed.empty()) return;
  executor_.report({.reason = "input_changed",
                    .message = fmt::format("input '{}' is not as it was before the launch",
                                           task_.tensors.at(changed.front()).name)});
}

std::vector<std::vector<std::byte>> WorkloadSession::outputs() {
  std::vector<std::vector<std::byte>> contents;
  for (const int index : outputs_) contents.push_back(referee_.read(referee_slot_, index));
  return contents;
}

std::vector<OutputError> WorkloadSession::check(const ReferencePlan& reference,
                                                const std::vector<std::int64_t>& rows) {
  KERNELITES_ASSERT(family_ && !is_modelled_);
  inspect_inputs();
  std::vector<Referee::Output> outputs;
  const std::int64_t row_total = row_count(task_, workload_);
  for (const int index : outputs_) {
    const TensorSpec& tensor = task_.tensors[static_cast<std::size_t>(index)];
    const Precision& gate = precision_of(task_, *family_, tensor.name);
    outputs.push_back(
        {.tensor = index,
         .dtype = tensor.dtype,
         .columns = element_count(tensor, workload_) / row_total,
         .gate = {.ulp = gate.element_ulp, .rms_factor = gate.element_rms, .absolute = gate.absolute}});
  }
  const auto results = referee_.check(referee_slot_, reference.plan, *reference.lowered, outputs, rows);
  std::vector<OutputError> errors;
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const TensorSpec& tensor = task_.tensors[static_cast<std::size_t>(outputs_[i])];
    errors.push_back(judge(tensor.name, precision_of(task_, *family_, tensor.name), results[i]));
  }
  return errors;
}

}  // namespace kernelites::worker
