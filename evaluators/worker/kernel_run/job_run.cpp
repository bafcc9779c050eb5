// SPDX-License-Identifier: Apache-2.0
// From a job to a sequence of bound launches and back to bytes.
#include "evaluators/worker/kernel_run/job_run.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "engine/core/error.h"
#include "evaluators/worker/contract/problem_source.h"

namespace kernelites::worker {
namespace {

constexpr double k_compile_deadline_s = 120;

/// Puts a buffer's first contents on the device. Where faults of single accesses can be seen, an input is mapped
/// read-only, so that a kernel that writes it is found.
Buffer place_buffer(const KernelJob& job, const JobBuffer& buffer, Device& device) {
  Buffer placed = device.allocate(buffer.bytes(), buffer.name);
  device.write(placed, 0, initial_bytes(job, buffer));
  if (buffer.contents.kind == Contents::Kind::unwritten) device.mark_unwritten(placed);
  if (buffer.is_output || !device.facts().is_virtual) return placed;
  const Buffer input = device.map(device.share(placed), buffer.bytes(), Access::read_only, buffer.name);
  device.release(placed);
  return input;
}

BoundArgument bound_argument(const JobArgument& argument, const KernelJob& job,
                             const std::vector<Buffer>& buffers) {
  if (argument.buffer < 0) return {.bytes = argument.bytes, .tensor_map = std::nullopt};
  const auto index = static_cast<std::size_t>(argument.buffer);
  if (argument.offset < 0 || argument.offset > job.buffers[index].bytes())
    throw Error(fmt::format("an argument points outside {}", job.buffers[index].name));
  const std::uint64_t address = buffers[index].address + static_cast<std::uint64_t>(argument.offset);
  BoundArgument bound{.bytes = std::vector<std::byte>(sizeof address), .tensor_map = std::nullopt};
  std::memcpy(bound.bytes.data(), &address, sizeof address);
  return bound;
}

BoundLaunch bound_launch(const JobLaunch& launch, const std::string& symbol, ModuleId module,
                         const KernelJob& job, const std::vector<Buffer>& buffers) {
  BoundLaunch bound{.module = module, .kernel = symbol, .plan = {}, .arguments = {}};
  bound.plan.kernel = launch.kernel;
  bound.plan.grid = launch.grid;
  bound.plan.block = launch.block;
  bound.plan.cluster = launch.cluster;
  bound.plan.shared_bytes = launch.shared_bytes;
  bound.plan.is_cooperative = launch.is_cooperative;
  for (const JobArgument& argument : launch.arguments)
    bound.arguments.push_back(bound_argument(argument, job, buffers));
  return bound;
}

double element_at(const ElementType& type, std::span<const std::byte> bytes, std::int64_t index) {
  std::uint64_t bits = 0;
  const auto size = static_cast<std::size_t>(type.bytes);
  std::memcpy(&bits, bytes.data() + static_cast<std::size_t>(index) * size, size);
  return decode_element(type, bits);
}

}  // namespace

void make_output_folder(const std::filesystem::path& folder) {
  std::error_code problem;
  std::filesystem::create_directories(folder, problem);
  if (!std::filesystem::is_directory(folder))
    throw ConfigError("--outputs", folder.string(), "is no folder and cannot be made one");
}

JobCode job_code(const KernelJob& job, Compiler* compiler, const std::string& architecture) {
  JobCode code;
  const std::string text = read_text(job.source);
  if (job.source.extension() == ".ptx") {
    code.ptx = text;
    for (const JobLaunch& launch : job.launches) code.symbols.push_back(launch.kernel);
    return code;
  }
  KERNELITES_ASSERT(compiler != nullptr);
  // What is left out of a file's includes costs nothing here either: the same headers as for candidates.
  CompileInput input{.source = fmt::format("#include <kernelites/std.cuh>\n#line 1 \"{}\"\n{}",
                                           job.source.filename().string(), text),
                     .file_name = job.source.filename().string(),
                     .headers = contract_headers(),
                     .options = {"-arch=" + architecture, "--std=c++17", "-default-device", "-lineinfo"},
                     .name_expressions = {},
                     .ptx_only = true};
  for (const auto& folder : compiler->toolkit().include_folders)
    input.options.push_back("-I" + folder.string());
  input.options.insert(input.options.end(), job.options.begin(), job.options.end());
  for (const JobLaunch& launch : job.launches) input.name_expressions.push_back(launch.kernel);
  const CompileOutput output = compiler->compile(input, k_compile_deadline_s);
  if (!output.ok) {
    code.failure = output.failure + "\n" + output.log;
    return code;
  }
  code.ptx = output.ptx;
  for (const JobLaunch& launch : job.launches) code.symbols.push_back(output.lowered_names.at(launch.kernel));
  return code;
}

JobOutcome run_job(const KernelJob& job, const JobCode& code, Device& device, double deadline_s) {
  const ModuleId module = device.load({.ptx = code.ptx, .cubin = {}, .registers = {}});
  std::vector<Buffer> buffers;
  for (const JobBuffer& buffer : job.buffers) buffers.push_back(place_buffer(job, buffer, device));
  std::vector<BoundLaunch> launches;
  for (std::size_t i = 0; i < job.launches.size(); ++i)
    launches.push_back(bound_launch(job.launches[i], code.symbols[i], module, job, buffers));
  SequenceOutcome sequence = device.run({}, launches, RunMode::full, deadline_s);
  JobOutcome outcome{.fault = std::move(sequence.fault),
                     .elapsed_us = sequence.elapsed_us,
                     .outputs = {},
                     .remarks = std::move(sequence.remarks)};
  if (outcome.fault && !device.facts().is_virtual) return outcome;  // the device may be unusable now
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    if (job.buffers[i].is_output && !outcome.fault) {
      std::vector<std::byte>& bytes =
          outcome.outputs.emplace_back(static_cast<std::size_t>(job.buffers[i].bytes()));
      device.read(buffers[i], 0, bytes);
    }
    device.release(buffers[i]);
  }
  device.unload(module);
  return outcome;
}

Difference compare_outputs(const JobBuffer& buffer, std::span<const std::byte> a,
                           std::span<const std::byte> b) {
  KERNELITES_ASSERT(a.size() == b.size() && std::ssize(a) == buffer.bytes());
  Difference difference;
  double squares = 0;
  std::int64_t finite = 0;
  for (std::int64_t i = 0; i < buffer.count; ++i) {
    const double value = element_at(buffer.type, b, i);
    if (!std::isfinite(value)) continue;
    squares += value * value;
    ++finite;
  }
  const double rms = finite > 0 ? std::sqrt(squares / static_cast<double>(finite)) : 0;
  const auto size = static_cast<std::size_t>(buffer.type.bytes);
  for (std::int64_t i = 0; i < buffer.count; ++i) {
    const std::size_t at = static_cast<std::size_t>(i) * size;
    if (std::memcmp(a.data() + at, b.data() + at, size) == 0) continue;
    ++difference.unequal_bits;
    const double x = element_at(buffer.type, a, i), y = element_at(buffer.type, b, i);
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    const double error = std::fabs(x - y) / (std::fabs(y) + rms);
    const bool is_beyond = !(error <= buffer.tolerance);
    difference.beyond += is_beyond ? 1 : 0;
    if (error > difference.worst || !std::isfinite(error)) {
      difference.worst = error;
      difference.worst_at = i;
    }
  }
  return difference;
}

}  // namespace kernelites::worker
