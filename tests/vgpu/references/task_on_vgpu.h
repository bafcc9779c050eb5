// SPDX-License-Identifier: Apache-2.0
// Runs a .cu file of a task on the virtual GPU: compile, evaluate the plan, launch, read the outputs.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "engine/core/candidate.h"
#include "engine/core/error.h"
#include "engine/core/task.h"
#include "evaluators/worker/contract/plan_reader.h"
#include "evaluators/worker/contract/problem_source.h"
#include "evaluators/worker/nvrtc/compile.h"
#include "evaluators/worker/vgpu/machine.h"

namespace kernelites::worker {

/// Contents of one tensor.
using Bytes = std::vector<std::byte>;

template <typename T>
Bytes bytes_of(const std::vector<T>& values) {
  Bytes bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

template <typename T>
std::vector<T> values_of(const Bytes& bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

/// A .cu file and the shape it runs at.
struct TaskRun {
  const Task& task;
  std::string source;
  Form form = Form::reference;
  Workload workload;
  std::vector<std::int64_t> rows;  ///< reference only
};

/// Compiles without a jail: the project's own files need none. PTX is all that runs here: a virtual architecture keeps
/// ptxas out of it, half of a compile. Without `kernels` the plan alone is read, and nothing runs.
inline CompileOutput compile_here(const TaskRun& run, std::string unit, std::vector<std::string> kernels) {
  static const Toolkit toolkit = find_toolkit({});
  static const NvrtcLibrary nvrtc = open_nvrtc(toolkit);
  CompileInput input{
      .source = std::move(unit), .headers = contract_headers(), .options = {}, .name_expressions = {}};
  input.options = {"-arch=compute_90a", "--std=c++20", "-default-device"};
  for (const auto& folder : toolkit.include_folders) input.options.push_back("-I" + folder.string());
  for (const Tunable& tunable : parse_tunables(run.source)) {
    input.options.push_back("-D" + tunable.name + "=" + std::to_string(tunable.values.front()));
  }
  if (kernels.empty() && toolkit.version >= "NVRTC 13") input.options.push_back("--Ofast-compile=max");
  input.ptx_only = true;
  input.name_expressions = std::move(kernels);
  CompileOutput output = compile_in_process(nvrtc, input);
  if (!output.ok) throw Error(output.log);
  return output;
}

/// The one plan of `run`. Throws Error with the words of whatever is wrong with it.
inline LaunchPlan plan_of(const TaskRun& run, const PlanPoint& point) {
  const CompileOutput planned =
      compile_here(run, plan_unit(run.task, run.form, {&point, 1}, {}, run.source), {});
  const auto plans = read_plans(planned.ptx, 1);
  if (const auto* verdict = std::get_if<Verdict>(&plans)) throw Error(verdict->message);
  LaunchPlan plan = std::get<std::vector<LaunchPlan>>(plans).front();
  if (!plan.unsupported.empty()) throw Error(plan.unsupported);
  return plan;
}

/// Device memory of the test.
struct Allocation {
  Bytes bytes;
  std::uint64_t address = 0;
};

inline Allocation allocate(vgpu::Memory& memory, std::size_t bytes, const std::string& name) {
  Allocation allocation{.bytes = Bytes(bytes, std::byte{0xFF})};
  allocation.address = memory.add(allocation.bytes.data(), bytes, name);
  return allocation;  // NOTE: moving a vector keeps its elements where they are
}

/// The bits of one argument, from the lowest byte on.
inline std::uint64_t argument_bits(const Argument& argument, const std::vector<Allocation>& tensors,
                                   const std::vector<Allocation>& workspaces) {
  switch (argument.kind) {
    case ArgumentKind::tensor:
      return tensors.at(static_cast<std::size_t>(argument.index)).address;
    case ArgumentKind::workspace:
      return workspaces.at(static_cast<std::size_t>(argument.index)).address;
    case ArgumentKind::f32:
      return std::bit_cast<std::uint32_t>(static_cast<float>(argument.real));
    case ArgumentKind::f64:
      return std::bit_cast<std::uint64_t>(argument.real);
    case ArgumentKind::tensor_map:
      throw Error("tensor maps are not bound here");
    default:
      return static_cast<std::uint64_t>(argument.integer);
  }
}

inline vgpu::Launch launch_of(const PlannedLaunch& planned, const vgpu::Program& program,
                              const std::string& symbol, const std::vector<Allocation>& tensors,
                              const std::vector<Allocation>& workspaces) {
  const auto dim3 = [](const std::array<std::uint32_t, 3>& d) { return vgpu::Dim3{d[0], d[1], d[2]}; };
  vgpu::Launch launch{.kernel = symbol,
                      .grid = dim3(planned.grid),
                      .block = dim3(planned.block),
                      .cluster = dim3(planned.cluster),
                      .dynamic_shared_bytes = planned.shared_bytes,
                      .parameters = {}};
  const auto layout = vgpu::parameter_layout(program, symbol);
  if (layout.size() != planned.arguments.size()) throw Error("the plan passes another number of arguments");
  for (std::size_t i = 0; i < layout.size(); ++i) {
    const std::uint64_t bits = argument_bits(planned.arguments[i], tensors, workspaces);
    launch.parameters.resize(layout[i].offset + layout[i].bytes);
    std::memcpy(launch.parameters.data() + layout[i].offset, &bits, layout[i].bytes);
  }
  return launch;
}

/// Contents of all tensors in the form's order after one call, given those of the inputs. Outputs and workspaces
/// start as NaN. Throws Error with the words of whatever went wrong.
inline std::vector<Bytes> run_on_vgpu(const TaskRun& run, const std::vector<Bytes>& inputs) {
  const PlanPoint point{.workload = &run.workload,
                        .reference_rows = static_cast<std::int64_t>(run.rows.size())};
  const LaunchPlan plan = plan_of(run, point);
  std::vector<std::string> kernels;
  for (const PlannedLaunch& launch : plan.launches) kernels.push_back(launch.kernel);
  const CompileOutput code =
      compile_here(run, code_unit(run.task, run.form, {&point, 1}, run.source), kernels);
  const auto program = vgpu::parse(code.ptx);

  vgpu::Memory memory;
  std::vector<Allocation> tensors, workspaces;
  for (std::size_t i = 0; i < tensor_count_in_form(run.task, run.form); ++i) {
    const TensorSpec spec = tensor_in_form(run.task, i, run.form);
    std::size_t bytes = dtype_bytes(spec.dtype);
    for (const std::int64_t extent : tensor_shape_in_form(run.task, i, run.form, point)) {
      bytes *= static_cast<std::size_t>(extent);
    }
    tensors.push_back(allocate(memory, bytes, spec.name));
    if (spec.role == Role::output) continue;
    const Bytes& contents = i < inputs.size() ? inputs[i] : bytes_of(run.rows);
    std::copy(contents.begin(), contents.end(), tensors.back().bytes.begin());
  }
  for (const Workspace& workspace : plan.workspaces) {
    workspaces.push_back(allocate(memory, static_cast<std::size_t>(workspace.bytes), "workspace"));
  }
  for (const PlannedLaunch& planned : plan.launches) {
    const auto launch =
        launch_of(planned, *program, code.lowered_names.at(planned.kernel), tensors, workspaces);
    const auto result = vgpu::run(*program, memory, launch, {.threads = 2});
    if (result.fault) throw Error(vgpu::describe(*result.fault));
  }
  std::vector<Bytes> contents;
  for (Allocation& tensor : tensors) contents.push_back(std::move(tensor.bytes));
  return contents;
}

}  // namespace kernelites::worker
