// SPDX-License-Identifier: Apache-2.0
// Compiles the plan in a jail, looks at its object file, and runs it there.
#include "tools/exporting/host_proof.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "engine/core/digest.h"
#include "engine/core/embedded_file.h"
#include "engine/core/error.h"
#include "engine/core/fresh_folder.h"
#include "engine/core/json.h"
#include "engine/jail/jailed_process.h"
#include "tools/exporting/host_plan.h"
#include "tools/exporting/library_texts.h"
#include "tools/exporting/plan_object.h"

namespace kernelites {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds k_compile_deadline{120}, k_run_deadline{120};
constexpr std::uint64_t k_words_bytes_max = std::uint64_t{1} << 30;
constexpr std::size_t k_words_max = 2816;

/// Runs it to its end. Empty if it ended well, else what happened.
std::string run_jailed(JailedCommand command, std::chrono::seconds deadline, std::string& output) {
  JailedProcess process(std::move(command));
  const Clock::time_point end = Clock::now() + deadline;
  while (!process.has_ended()) {
    std::vector<pollfd> descriptors;
    process.add_descriptors(descriptors);
    ::poll(descriptors.data(), descriptors.size(), 50);
    process.pump();
    if (Clock::now() > end) process.kill();
  }
  output = process.output();
  if (process.has_flooded()) return "it wrote more than it may";
  if (process.end().is_clean()) return "";
  if (!process.end().jail_problem.empty())
    return "there is no jail to run it in: " + process.end().jail_problem;
  if (Clock::now() > end) return "it did not end in time";
  const std::string errors = process.errors();
  const std::size_t at = errors.find("error:");
  const std::string first =
      at == std::string::npos ? errors.substr(0, 200) : errors.substr(at, errors.find('\n', at) - at);
  return fmt::format("{}: {}", process.end().words(), first);
}

JailedCommand command_in(const fs::path& scratch, std::vector<std::string> words) {
  JailedCommand command;
  command.command = std::move(words);
  command.environment = {{"PATH", "/usr/local/bin:/usr/bin:/bin"},
                         {"HOME", scratch.string()},
                         {"TMPDIR", scratch.string()},
                         {"LANG", "C.UTF-8"}};
  command.scratch = scratch;
  command.allows_network = false;
  return command;
}

/// What the plan's object file, made without optimisation (which would hide what is not used here), holds beyond it.
std::string checked_object(const fs::path& scratch, const std::string& compiler, const std::string& label) {
  std::string output;
  const std::vector<std::string> words{compiler,   "-std=c++20", "-O0",   "-ffp-contract=off",
                                       "-fwrapv",  "-w",         "-I.",   "-c",
                                       "plan.cpp", "-o",         "plan.o"};
  std::string problem = run_jailed(command_in(scratch, words), k_compile_deadline, output);
  if (!problem.empty()) return fmt::format("the host compiler refuses the plan ({})", problem);
  problem = object_trouble(read_text(scratch / "plan.o"), "plan_" + label);
  return problem.empty() ? "" : "the plan as host code is more than arithmetic: " + problem;
}

std::string record_of(const Task& task, const ProofBatch& batch, const Shape& shape) {
  std::string bytes;
  const auto add = [&](const void* value) { bytes.append(static_cast<const char*>(value), 8); };
  for (const std::int64_t extent : shape) add(&extent);
  for (const ScalarSpec& scalar : task.scalars) {
    const auto found = batch.scalars.find(scalar.name);
    const double value = found == batch.scalars.end() ? scalar.value : found->second;
    add(&value);
  }
  bytes.append(8, '\0');
  const DeviceFacts& device = batch.device;
  for (const std::int64_t fact :
       {std::int64_t{device.sm_count}, std::int64_t{device.shared_bytes_per_block_max},
        std::int64_t{device.registers_per_sm}, device.l2_bytes, std::int64_t{device.compute_capability}})
    add(&fact);
  return bytes;
}

/// The counted words of all shapes as digests. Empty if there are fewer, or more, than shapes.
std::variant<PlanDigests, HostProblem> digests_from(const std::string& output,
                                                    const std::vector<ProofBatch>& batches) {
  PlanDigests digests;
  std::size_t at = 0;
  for (const ProofBatch& batch : batches) {
    digests.emplace_back();
    for (std::size_t i = 0; i < batch.shapes.size(); ++i) {
      std::uint64_t count = 0;
      if (output.size() - at >= sizeof count) std::memcpy(&count, output.data() + at, sizeof count);
      at += sizeof count;
      if (count == 0 || count > k_words_max || at + 8 * count > output.size())
        return HostProblem{"the plan's program did not answer for every shape"};
      digests.back().push_back(digest(std::string_view(output).substr(at, 8 * count)));
      at += 8 * count;
    }
  }
  if (at != output.size()) return HostProblem{"the plan's program answered for more shapes than there are"};
  return digests;
}

}  // namespace

std::vector<ProofBatch> proof_batches(const Task& task, const LibraryDomain& domain,
                                      const DeviceFacts& device, std::size_t count) {
  const std::vector<Shape> shapes = draw_shapes(task, domain, count, 13);
  std::map<std::string, double> same, other;
  for (const ScalarSpec& scalar : task.scalars) {
    const bool is_whole = scalar.dtype == Dtype::i32 || scalar.dtype == Dtype::i64;
    same[scalar.name] = scalar.value;
    other[scalar.name] = is_whole ? scalar.value + 1 : scalar.value * 0.8125 + 0.03125;
  }
  DeviceFacts smaller = device;
  smaller.sm_count = std::max(1, device.sm_count * 7 / 8);
  std::vector<ProofBatch> batches;
  const auto add = [&](const DeviceFacts& facts, const std::map<std::string, double>& scalars,
                       std::size_t begin, std::size_t end) {
    if (begin >= end) return;
    batches.push_back({.device = facts, .scalars = scalars, .shapes = {}});
    batches.back().shapes.assign(shapes.begin() + static_cast<std::ptrdiff_t>(begin),
                                 shapes.begin() + static_cast<std::ptrdiff_t>(end));
  };
  const std::size_t total = shapes.size(), eighth = total / 8;
  add(device, same, 0, total - 2 * eighth);
  add(device, other, total - 2 * eighth, total - eighth);
  add(smaller, same, total - eighth, total);
  return batches;
}

std::variant<PlanDigests, HostProblem> host_digests(const Task& task, const std::string& label,
                                                    const std::string& source, const std::string& compiler,
                                                    const std::vector<ProofBatch>& batches) {
  const FreshFolder scratch("plan");
  for (const ExportFile& file : host_plan_headers()) {
    const fs::path path = scratch.path() / file.path.substr(std::string("src/").size());
    fs::create_directories(path.parent_path());
    write_text_atomically(path, file.bytes);
  }
  write_text_atomically(scratch.path() / "library_name.h", export_text("library_name.h"));
  write_text_atomically(scratch.path() / "prove_plans.cpp", export_text("prove_plans.cpp"));
  write_text_atomically(scratch.path() / "plan.cpp", source);
  if (std::string problem = checked_object(scratch.path(), compiler, label); !problem.empty())
    return HostProblem{std::move(problem)};
  const std::size_t dims = batches.empty() ? 0 : batches.front().shapes.front().size();
  std::vector<std::string> words{compiler, "-std=c++20", "-O2"};
  for (const char* flag : {"-ffp-contract=off", "-fwrapv", "-w"}) words.emplace_back(flag);
  for (const std::string& word :
       {fmt::format("-DKERNELITES_PROVEN_PLAN=plan_{}", label),
        fmt::format("-DKERNELITES_PROVEN_DIMS={}", dims),
        fmt::format("-DKERNELITES_PROVEN_SCALARS={}", task.scalars.size()), std::string("-I."),
        std::string("plan.cpp"), std::string("prove_plans.cpp"), std::string("-o"), std::string("prove")})
    words.push_back(word);
  std::string output;
  std::string problem = run_jailed(command_in(scratch.path(), words), k_compile_deadline, output);
  if (!problem.empty()) return HostProblem{fmt::format("the host compiler refuses the plan ({})", problem)};
  JailedCommand prove = command_in(scratch.path(), {(scratch.path() / "prove").string()});
  prove.output_bytes_max = k_words_bytes_max;
  for (const ProofBatch& batch : batches)
    for (const Shape& shape : batch.shapes) prove.input += record_of(task, batch, shape);
  problem = run_jailed(std::move(prove), k_run_deadline, output);
  if (!problem.empty()) return HostProblem{fmt::format("the plan as host code fails ({})", problem)};
  return digests_from(output, batches);
}

}  // namespace kernelites
