// SPDX-License-Identifier: Apache-2.0
// kernelites-run-kernel: runs kernel jobs on one device, one line of JSON each, and compares with an earlier run.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <optional>

#include "engine/core/digest.h"
#include "engine/core/error.h"
#include "evaluators/worker/kernel_run/job_run.h"
#include "evaluators/worker/sandbox/child.h"

namespace {

using namespace kernelites;
using namespace kernelites::worker;
namespace fs = std::filesystem;

struct Options {
  std::string device = "vgpu", architecture = "compute_90a", toolkit;
  std::vector<fs::path> jobs;
  fs::path outputs, against;
  double deadline_s = 60;
  unsigned threads = 1;
};

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// What one output buffer came to: digest, and how it differs from the stored one.
Json report_output(const Options& options, const KernelJob& job, const JobBuffer& buffer,
                   std::span<const std::byte> bytes, bool& is_match) {
  Json report{{"buffer", buffer.name}, {"sha256", digest(text_of(bytes))}};
  const std::string file = fmt::format("{}.{}.bin", job.name, buffer.name);
  if (!options.outputs.empty()) write_text_atomically(options.outputs / file, text_of(bytes));
  if (options.against.empty()) return report;
  const std::string stored = read_text(options.against / file);
  if (stored.size() != bytes.size()) throw ConfigError(file, "", "has another size than the job's output");
  const Difference difference = compare_outputs(buffer, bytes, std::as_bytes(std::span(stored)));
  report["beyond_tolerance"] = difference.beyond;
  report["worst"] = real_to_json(difference.worst);
  report["worst_at"] = difference.worst_at;
  report["unequal_bits"] = difference.unequal_bits;
  is_match = is_match && difference.beyond == 0;
  return report;
}

/// One line of JSON. True if the job ran and matched.
bool report_job(const Options& options, const fs::path& file, Device& device, Compiler* compiler) {
  const KernelJob job = read_kernel_job(file);
  Json report{{"job", job.name}, {"device", options.device}};
  const JobCode code = job_code(job, compiler, options.architecture);
  bool is_good = code.failure.empty();
  if (!is_good) {
    report["compile_error"] = code.failure;
  } else {
    const JobOutcome outcome = run_job(job, code, device, options.deadline_s);
    is_good = !outcome.fault;
    if (!outcome.remarks.empty()) report["remarks"] = outcome.remarks;
    if (outcome.fault) {
      report["fault"] = {{"reason", outcome.fault->reason},
                         {"message", outcome.fault->message},
                         {"line", outcome.fault->line}};
    } else {
      report["elapsed_us"] = outcome.elapsed_us;
      std::size_t next = 0;
      for (const JobBuffer& buffer : job.buffers)
        if (buffer.is_output)
          report["outputs"].push_back(report_output(options, job, buffer, outcome.outputs[next++], is_good));
    }
  }
  fmt::print("{}\n", report.dump(-1, ' ', false, Json::error_handler_t::replace));
  std::fflush(stdout);
  return is_good;
}

int run(int argc, char** argv) {
  CLI::App app{
      "Runs kernel jobs (docs/vgpu.md) and prints one line of JSON each. Exit code 1: one failed or "
      "differs.\n"
      "  kernelites-run-kernel --device gpu --outputs OUT softmax.json\n"
      "  kernelites-run-kernel --device vgpu --against OUT softmax.json"};
  Options options;
  app.add_option("jobs", options.jobs, "job files")->required()->check(CLI::ExistingFile);
  app.add_option("--device", options.device, "gpu or vgpu")->check(CLI::IsMember({"gpu", "vgpu"}));
  app.add_option("--architecture", options.architecture, "what a .cu is compiled for");
  app.add_option("--outputs", options.outputs, "folder for the outputs; made if there is none");
  app.add_option("--against", options.against, "folder with outputs to compare with")
      ->check(CLI::ExistingDirectory);
  app.add_option("--deadline", options.deadline_s, "seconds for the launches of a job")
      ->check(CLI::PositiveNumber);
  app.add_option("--threads", options.threads, "of the vgpu")->check(CLI::Range(1, 256));
  app.add_option("--toolkit", options.toolkit, "folder of a CUDA toolkit (include, lib64)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (!options.outputs.empty()) make_output_folder(options.outputs);
  const bool compiles = std::any_of(options.jobs.begin(), options.jobs.end(), [](const fs::path& file) {
    return read_kernel_job(file).source.extension() == ".cu";
  });
  std::optional<Compiler> compiler;
  if (compiles) compiler.emplace(find_toolkit({.explicit_folder = options.toolkit, .further_folders = {}}));
  const auto device = options.device == "gpu" ? make_gpu_device() : make_vgpu_device(options.threads);
  bool is_good = true;
  for (const fs::path& job : options.jobs)
    is_good = report_job(options, job, *device, compiler ? &*compiler : nullptr) && is_good;
  return is_good ? 0 : 1;
}

constexpr ChildRole k_roles[] = {{k_compile_role, compile_child_main}};

}  // namespace

int main(int argc, char** argv) {
  run_child_role(argc, argv, k_roles);
  try {
    return run(argc, argv);
  } catch (const kernelites::ConfigError& error) {
    fmt::print(stderr, "kernelites-run-kernel: {}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "kernelites-run-kernel: {}\n", error.what());
    return 3;
  }
}
