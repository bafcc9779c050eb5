// SPDX-License-Identifier: Apache-2.0
// kernelites adopt: a user's kernel becomes a seed of a task, or is told what the contract still needs.
//
// Host code and a missing plan are found in the text, with the plan that would fit the kernel's own parameters; what is
// left is the business of an examination.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <regex>

#include "engine/core/device_names.h"
#include "engine/core/error.h"
#include "tools/command_line.h"
#include "tools/data_root.h"
#include "tools/inspect/evaluation_text.h"
#include "tools/inspect/screen_text.h"
#include "tools/worker_setup.h"

namespace kernelites {
namespace {

namespace fs = std::filesystem;

struct AdoptOptions {
  std::string file;
  std::string task;
  std::string name;
  std::string device = "auto";
  std::string worker;
  std::string data;
  std::string log = "/dev/null";
};

/// Text that a candidate cannot hold, and what takes its place.
struct HostCode {
  const char* pattern;
  const char* instead;
};

constexpr HostCode k_host_code[] = {
    {R"(<<<)", "kernels are launched by the plan: plan.launch(\"name\").grid(...).block(...).arg(...)"},
    {R"(\bcuda(Malloc|Free|Memcpy|Memset|DeviceSynchronize|Stream\w*|FuncSetAttribute)\w*\s*\()",
     "the harness owns memory and launches: temporary memory is plan.workspace(kl::f32, elements), dynamic "
     "shared "
     "memory .shared(bytes)"},
    {R"(\bint\s+main\s*\()", "a seed has no main: the harness calls it"},
    {R"(#\s*include\s*<(torch|ATen|c10|pybind11)/)",
     "tensors arrive as plain pointers, shapes as members of Problem"},
    {R"(\b(torch|at)::)", "tensors arrive as plain pointers, shapes as members of Problem"},
    {R"(\bstd::(vector|cout|chrono|string)\b)", "a seed is device code and one constexpr plan"},
};

std::size_t line_of(const std::string& text, std::size_t at) {
  return 1 + static_cast<std::size_t>(
                 std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
}

/// A plan for the kernels of `text` that a reader completes: tensors and dims where a parameter has their name.
std::string suggested_plan(const std::string& text, const Task& task) {
  const std::regex kernel(R"(__global__[^;{]*?\b(\w+)\s*\(([^)]*)\))");
  std::string plan = "  constexpr void plan(const Problem& p, kl::Plan& plan) {\n";
  for (std::sregex_iterator i(text.begin(), text.end(), kernel), end; i != end; ++i) {
    plan += fmt::format("    plan.launch(\"{}\").grid(/* blocks */).block(/* threads */)", (*i)[1].str());
    const std::string parameters = (*i)[2].str();
    const std::regex parameter(R"((\w+)\s*(,|$))");
    for (std::sregex_iterator p(parameters.begin(), parameters.end(), parameter); p != end; ++p) {
      const std::string name = (*p)[1].str();
      const auto names = formula_names(task, task.check.front());
      const bool is_tensor = std::any_of(task.tensors.begin(), task.tensors.end(),
                                         [&](const TensorSpec& tensor) { return tensor.name == name; });
      plan += is_tensor || names.contains(name) ? fmt::format(".arg(p.{})", name)
                                                : fmt::format(".arg(/* {} */)", name);
    }
    plan += ";\n";
  }
  return plan + "  }\n";
}

std::string members_of(const Task& task) {
  std::string members;
  for (const TensorSpec& tensor : task.tensors)
    members += fmt::format(" p.{} ({} {})", tensor.name, dtype_name(tensor.dtype), role_name(tensor.role));
  for (const auto& [name, value] : formula_names(task, task.check.front()))
    members += fmt::format(" p.{}", name);
  return members;
}

/// A run would take the copy for a candidate that it knows.
void refuse_copy(const std::string& file, const Candidate& candidate, const Task& task,
                 const DataRoot& data) {
  if (!fs::exists(seed_folder(task, data))) return;
  for (const Seed& seed : find_seeds(task, data))
    if (seed.candidate.source == candidate.source)
      throw ConfigError("FILE", file, fmt::format("is the seed {}, byte for byte", seed.name));
}

/// What the text lacks, a line each; empty if there is nothing to say before an examination.
std::string needs_of(const std::string& text, const Task& task) {
  std::string needs;
  for (const HostCode& code : k_host_code) {
    std::smatch match;
    if (std::regex_search(text, match, std::regex(code.pattern)))
      needs += fmt::format("line {}: {}: {}\n", line_of(text, static_cast<std::size_t>(match.position())),
                           match.str(), code.instead);
  }
  if (text.find("__global__") == std::string::npos) needs += "there is no __global__ kernel\n";
  if (!std::regex_search(text, std::regex(R"(\bplan\s*\(\s*const\s+Problem\s*&)")))
    needs += fmt::format("a plan is missing. For your kernels it begins so:\n{}Members of p:{}\n",
                         suggested_plan(text, task), members_of(task));
  return needs;
}

void adopt(const AdoptOptions& options, Program& program) {
  const DataRoot data = find_data_root(options.data, program.executable);
  const Task task = find_task(options.task, data);
  const Candidate candidate = load_candidate(options.file);
  refuse_copy(options.file, candidate, task, data);
  const std::string needs = needs_of(candidate.source, task);
  if (!needs.empty()) {
    program.out << fmt::format("{} cannot be a seed of {} yet:\n{}", options.file, task.name, needs);
    program.exit_code = exit_failed;
    return;
  }
  const fs::path to =
      seed_folder(task, data) /
      (options.name.empty() ? fs::path(options.file).filename().string() : options.name + ".cu");
  if (fs::exists(to)) throw ConfigError("--name", to.string(), "exists already");

  const auto pool =
      start_workers({}, options.device, find_worker(options.worker, program.executable), options.log);
  Request request = request_for(task, device_of(pool->provenance()), "adopt", 600);
  request.examine = ExamineRequest{.candidate = candidate, .key = Key::random()};
  const Reply reply = ask_worker(*pool, request);
  if (!reply.examination) throw Error("the worker's reply holds no examination");
  program.out << examination_text(*reply.examination);
  if (!reply.examination->verdict.is_passed) {
    program.out << fmt::format("{} cannot be a seed of {} yet: stage {} says why, above\n", options.file,
                               task.name, reply.examination->verdict.stage);
    program.exit_code = exit_failed;
    return;
  }
  fs::create_directories(to.parent_path());
  fs::copy_file(options.file, to);
  program.out << fmt::format(
      "{} is a seed of {} now: runs start from it too. Not timed; beside the other seeds: "
      "kernelites bench --task {}\n",
      to.string(), task.name, shell_word(options.task));
}

}  // namespace

void add_adopt_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<AdoptOptions>();
  command.add_option("file", options->file, "The .cu file")->required();
  command.add_option("--task", options->task, "Task name or folder")->required();
  command.add_option("--name", options->name, "Name of the seed, without .cu; the file's if left out");
  command.add_option("--device", options->device, "auto, gpu, vgpu or vgpu:rtx4090")
      ->check(CLI::IsMember(device_names()));
  command.add_option("--worker", options->worker, "The worker program");
  command.add_option("--log", options->log, "File for the worker's messages");
  command.add_option("--data", options->data, "Folder that holds tasks/, kernels_seed/ and prompts/");
  command.footer("Example: kernelites adopt my_kernel.cu --task rmsnorm");
  command.callback([options, &program] { adopt(*options, program); });
}

}  // namespace kernelites
