// SPDX-License-Identifier: Apache-2.0
// kernelites-worker: evaluates candidates on one device; serves lines on stdin/stdout, or a batch file.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>

#include "engine/core/device_names.h"
#include "engine/core/error.h"
#include "evaluators/worker/nvrtc/compile_child.h"
#include "evaluators/worker/pipeline/code_export.h"
#include "evaluators/worker/pipeline/executor.h"
#include "evaluators/worker/pipeline/inspection.h"
#include "evaluators/worker/pipeline/library_order.h"
#include "evaluators/worker/pipeline/lone_launch.h"
#include "evaluators/worker/pipeline/referee.h"
#include "evaluators/worker/pipeline/supervisor.h"
#include "evaluators/worker/sandbox/child.h"

namespace {

using namespace kernelites;
using namespace kernelites::worker;

constexpr ChildRole k_roles[] = {
    {"compile", compile_child_main},
    {"executor", executor_main},
    {"referee", referee_main},
    {k_lone_role, lone_launch_main},
};

/// Keeps the protocol's descriptors for ourselves: whatever prints to stdout from here on reaches stderr.
std::pair<int, int> take_protocol_descriptors() {
  const int input = ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
  const int output = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  if (input < 0 || output < 0) throw Error("stdin and stdout must be open");
  const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::dup2(nothing, STDIN_FILENO);
  ::close(nothing);
  ::dup2(STDERR_FILENO, STDOUT_FILENO);
  return {input, output};
}

int run(int argc, char** argv) {
  CLI::App app{
      "Evaluates candidates on one device. Serves requests on stdin (docs/architecture.md), or a batch:\n"
      "  kernelites-worker --device vgpu --batch IN.jsonl OUT.jsonl"};
  WorkerOptions options;
  std::vector<std::string> batch, code, order;
  std::string toolkit;
  std::vector<std::string> further;
  app.add_option("--device", options.device, "auto, gpu, vgpu or vgpu:rtx4090")
      ->check(CLI::IsMember(device_names()));
  app.add_option("--jobs", options.jobs, "evaluations at once (0: by processors)")->check(CLI::Range(0, 64));
  app.add_option("--toolkit", toolkit, "folder of a CUDA toolkit (include, lib64)");
  app.add_option("--toolkit-search", further, "further folders to look for a toolkit in");
  app.add_flag("--allow-weak-jail", options.allows_weak_jail,
               "compile even where the system cannot keep the compiler from reading files");
  bool wants_inspection = false;
  app.add_flag("--inspect", wants_inspection, "say what this machine has, as JSON on stdout, and end");
  app.add_option("--batch", batch, "IN OUT: evaluate the requests of a file")->expected(2);
  app.add_option("--code", code, "IN OUT: write the code of the duels of a file, for programs that launch it")
      ->expected(2)
      ->excludes("--batch");
  app.add_option("--order", order, "IN OUT: compile what an export ships; needs a toolkit and no device")
      ->expected(2)
      ->excludes("--batch")
      ->excludes("--code");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error, std::cerr, std::cerr);
    return code == 0 ? 0 : 2;
  }
  options.toolkit.explicit_folder = toolkit;
  options.toolkit.further_folders.assign(further.begin(), further.end());
  if (wants_inspection) {
    fmt::print("{}\n", Json(inspect_machine(options.toolkit, options.device == "gpu")).dump());
    return 0;
  }
  if (!batch.empty()) return serve_batch(options, batch[0], batch[1]);
  if (!code.empty()) return export_code(options, code[0], code[1]);
  if (!order.empty()) return serve_order(options, order[0], order[1]);
  const auto [input, output] = take_protocol_descriptors();
  return serve_lines(options, input, output);
}

}  // namespace

int main(int argc, char** argv) {
  run_child_role(argc, argv, k_roles);
  // A controller or a child that is gone shows as a failed write, not as a signal.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return run(argc, argv);
  } catch (const kernelites::ConfigError& error) {
    fmt::print(stderr, "kernelites-worker: {}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "kernelites-worker: {}\n", error.what());
    return 3;
  }
}
