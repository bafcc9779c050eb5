// SPDX-License-Identifier: Apache-2.0
// Allocation, filling, running and comparing of one workload.
#include "evaluators/worker/pipeline/workload_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "engine/core/error.h"
#include "evaluators/worker/contract/problem_source.h"
#include "evaluators/worker/pipeline/python_reference.h"
#include "evaluators/worker/pipeline/tensor_values.h"

namespace kernelites::worker {
namespace {

std::int64_t tensor_bytes(const TensorSpec& tensor, const Workload& workload) {
  return element_count(tensor, workload) * static_cast<std::int64_t>(dtype_bytes(tensor.dtype));
}

/// Period of a repeated input: larger than any cache line or tile, small enough to be drawn in no time. Different prime
/// numbers of pages, so that what several tensors hold together does not repeat for a long while.
std::int64_t repeated_bytes(std::size_t tensor) {
  constexpr std::int64_t k_page_bytes = 4096;
  constexpr std::int64_t k_pages[] = {127, 113, 131, 109, 137, 107, 139, 103};
  return k_page_bytes * k_pages[tensor % std::size(k_pages)];
}

/// More bytes than this are repeated.
constexpr std::int64_t k_whole_bytes_max = 1 << 20, k_whole_list_bytes_max = 64 << 20;

/// The fill of a repeated tensor: one period of it is one sequence.
void make_repeated(TensorFill& fill, const TensorSpec& tensor, std::size_t index) {
  fill.order.count = repeated_bytes(index) / static_cast<std::int64_t>(dtype_bytes(tensor.dtype));
  fill.order.leading = fill.order.count;
  fill.order.tokens = std::clamp<std::int64_t>(fill.order.count / std::max<std::int64_t>(fill.order.inner, 1),
                                               1, fill.order.tokens);
  fill.map.clear();
  fill.has_invalid = false;
}

bool is_written(Role role) { return role == Role::output || role == Role::inout; }

int tensor_index(const Task& task, const std::string& name) {
  for (std::size_t i = 0; i < task.tensors.size(); ++i) {
    if (task.tensors[i].name == name) return static_cast<int>(i);
  }
  throw Error(fmt::format("no tensor '{}'", name));
}

OutputError judge(const std::string& name, const Referee::Comparison& comparison, std::int64_t parts) {
  const WorstResult& worst = comparison.worst;
  // A NaN is kept, and fails: it is not at most 1.
  return {.output = name,
          .worst_row = worst.row,
          .row_share = worst.share,
          .element_share = worst.element,
          .mismatches = worst.mismatch,
          .worst_index = worst.index / parts,
          .parts = comparison.all};
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

bool computes_when_modelled(const Task& task, const Workload& workload) {
  const auto is_computed_input = [](const TensorSpec& tensor) {
    return is_computed(tensor) && tensor.role == Role::input;
  };
  // Metadata (lists of blocks, spans) is small, and the model is worth nothing without it.
  if (std::none_of(task.tensors.begin(), task.tensors.end(), is_computed_input)) return true;
  return std::all_of(task.tensors.begin(), task.tensors.end(), [&](const TensorSpec& tensor) {
    if (tensor.role != Role::input) return true;
    const bool is_list = tensor.dtype == Dtype::i32 || tensor.dtype == Dtype::i64;
    if (!is_list) return !is_computed(tensor);
    return tensor_bytes(tensor, workload) <= k_whole_list_bytes_max;
  });
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
    owned.push_back(
        {.name = name, .bytes = is_repeated(tensor) ? repeated_bytes(i) : bytes, .seen_bytes = bytes});
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
  // Indices are distinct within a vector and bounded by their token: a period would break both. Bitmaps are what
  // offsets are computed from.
  const bool is_list = tensor.role == Role::input &&
                       (tensor.fill.front().kind == "index_set" || tensor.fill.front().kind == "bits");
  if (is_computed(tensor) && computes_when_modelled(task_, workload_)) return false;
  return is_modelled_ && tensor.role == Role::input &&
         tensor_bytes(tensor, workload_) > (is_list ? k_whole_list_bytes_max : k_whole_bytes_max);
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
  metadata_ = draw_metadata(task_, workload_, rotation, key);
  for (std::size_t i = 0; i < task_.tensors.size(); ++i) {
    const auto drawn = metadata_.find(task_.tensors[i].name);
    if (drawn == metadata_.end()) continue;
    const auto bytes = std::as_bytes(std::span(drawn->second));
    referee_.write(referee_slot_, static_cast<int>(i), {bytes.begin(), bytes.end()});
  }
  const FillDraw draw{.task = task_,
                      .workload = workload_,
                      .family = family,
                      .metadata = metadata_,
                      .pattern = key.derive("pattern").seed()};
  std::vector<Referee::Filling> fillings;
  for (std::size_t i = 0; i < task_.tensors.size(); ++i) {
    const TensorSpec& tensor = task_.tensors[i];
    if (tensor.role != Role::input || is_computed(tensor)) continue;
    TensorFill fill = tensor_fill(draw, tensor, key.derive("tensor", i).seed());
    if (is_modelled_) fill.has_invalid = false;
    if (is_repeated(tensor)) make_repeated(fill, tensor, i);
    fillings.push_back({.tensor = static_cast<int>(i), .fill = std::move(fill)});
  }
  // After all metadata is written: what is invalid depends on the lengths.
  if (!fillings.empty()) referee_.fill(referee_slot_, fillings);
  compute_inputs(rotation, key);
  if (!is_modelled_) referee_.seal(referee_slot_, inputs_);
}

void WorkloadSession::compute_inputs(std::size_t rotation, const Key& key) {
  const auto computed = std::find_if(task_.tensors.begin(), task_.tensors.end(), is_computed);
  if (computed == task_.tensors.end() || (is_modelled_ && !computes_when_modelled(task_, workload_))) return;
  const Fill& fill = computed->role == Role::input ? fill_of(*family_, *computed)
                                                   : computed->fill.at(rotation % computed->fill.size());
  const auto family = family_ - task_.families.data();
  referee_.compute_inputs(referee_slot_, workload_.dims,
                          {static_cast<std::int64_t>(key.derive("computed").seed()),
                           std::llround(fill_number(fill, "variant", formula_names(task_, workload_))),
                           family, static_cast<std::int64_t>(rotation)});
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
              .deadline_s = deadline_s})
      .elapsed_us;
}

ExecutorClient::Ran WorkloadSession::run(ExecutorClient::Run order) {
  order.placement = placement_;
  is_inspected_ = false;
  const ExecutorClient::Ran ran = executor_.run(order);
  if (order.mode == RunMode::full && !executor_.fault() && !is_modelled_) inspect_inputs();
  return ran;
}

CounterValues WorkloadSession::count(ExecutorClient::Run order, CounterGroup group) {
  order.placement = placement_;
  is_inspected_ = false;
  return executor_.count(order, group);
}

void WorkloadSession::inspect_inputs() {
  if (is_inspected_) return;  // nothing has run since
  const std::vector<std::size_t> changed = referee_.changed_inputs(referee_slot_);
  is_inspected_ = true;
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

std::vector<OutputError> WorkloadSession::check(const ReferencePlan& reference, const RowLists& rows,
                                                bool wants_parts) {
  KERNELITES_ASSERT(family_ != nullptr);
  if (!is_modelled_) inspect_inputs();
  std::vector<Referee::Output> outputs;
  for (const int index : outputs_) {
    const TensorSpec& tensor = task_.tensors[static_cast<std::size_t>(index)];
    outputs.push_back(
        {.tensor = index,
         .group = row_group_of(task_, tensor),
         .order = compare_order(task_, tensor, precision_of(task_, *family_, tensor.name), workload_)});
  }
  const auto results = reference.is_python ? check_by_python(outputs, rows, wants_parts)
                                           : referee_.check(referee_slot_, reference.plan, *reference.lowered,
                                                            outputs, rows, wants_parts);
  std::vector<OutputError> errors;
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const TensorSpec& tensor = task_.tensors[static_cast<std::size_t>(outputs_[i])];
    errors.push_back(judge(tensor.name, results[i], outputs[i].order.parts));
  }
  return errors;
}

std::vector<Referee::Comparison> WorkloadSession::check_by_python(const std::vector<Referee::Output>& outputs,
                                                                  const RowLists& rows, bool wants_parts) {
  std::vector<std::vector<std::byte>> tensors(task_.tensors.size());
  for (const std::size_t index : inputs_) {
    const TensorSpec& tensor = task_.tensors[index];
    const auto bytes = static_cast<std::size_t>(tensor_bytes(tensor, workload_));
    if (bytes > k_payload_bytes_max)
      throw ConfigError(
          task_.name + "/reference.py", tensor.name,
          fmt::format("has {:.1f} GB at '{}', more than a process can be handed: such shapes need "
                      "a reference.cu",
                      static_cast<double>(bytes) * 1e-9, workload_.name));
    tensors[index] = read(static_cast<int>(index));
    // What the virtual GPU sees of a repeated input.
    for (std::size_t period = tensors[index].size(); tensors[index].size() < bytes;) {
      const std::size_t more = std::min(period, bytes - tensors[index].size());
      tensors[index].reserve(bytes);
      tensors[index].insert(tensors[index].end(), tensors[index].begin(),
                            tensors[index].begin() + static_cast<std::ptrdiff_t>(more));
    }
  }
  std::vector<PythonOutput> asked;
  for (const bool is_emulated : {false, true}) {
    for (const Referee::Output& output : outputs) {
      const std::string& name = task_.tensors[static_cast<std::size_t>(output.tensor)].name;
      if (is_emulated && !(output.order.emulated_factor > 0)) continue;
      asked.push_back(
          {.name = is_emulated ? name + "_emulated" : name, .group = output.group, .order = output.order});
    }
  }
  const auto gold = referee_.python(task_).answer(task_, workload_, tensors, rows, asked);
  return referee_.compare(referee_slot_, outputs, rows, gold, wants_parts);
}

std::vector<OutputError> WorkloadSession::compare(const std::map<std::string, std::vector<double>>& outputs,
                                                  const std::map<std::string, std::vector<double>>& expected,
                                                  const std::map<std::string, Precision>& gates) {
  std::vector<Referee::Output> orders;
  std::vector<std::vector<double>> gold;
  for (const auto& [name, values] : expected) {
    const int index = tensor_index(task_, name);
    const TensorSpec& tensor = task_.tensor(name);
    std::vector<std::byte> bytes(values.size() * dtype_bytes(tensor.dtype));
    for (std::size_t i = 0; i < values.size(); ++i) set_element(tensor.dtype, bytes, i, outputs.at(name)[i]);
    write(index, std::move(bytes));
    orders.push_back({.tensor = index,
                      .group = row_group_of(task_, tensor),
                      .order = compare_order(task_, tensor, gates.at(name), workload_)});
    gold.push_back(as_reference_rows(orders.back().order, values));
  }
  const RowLists rows = draw_rows(task_, workload_, k_all_reference_rows, Key{});
  const auto results = referee_.compare(referee_slot_, orders, rows, gold);
  std::vector<OutputError> errors;
  for (std::size_t i = 0; i < orders.size(); ++i)
    errors.push_back(judge(task_.tensors[static_cast<std::size_t>(orders[i].tensor)].name, results[i],
                           orders[i].order.parts));
  return errors;
}

}  // namespace kernelites::worker
