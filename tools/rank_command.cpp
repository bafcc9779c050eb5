// SPDX-License-Identifier: Apache-2.0
// kernelites rank: where a model's GPU time goes, and which tasks cover it.
#include <memory>

#include "tools/rank/rank_text.h"
#include "tools/reading_commands.h"

namespace kernelites {
namespace {

struct RankOptions {
  std::string trace;
  std::string patterns;
  double factor = 2;
  std::size_t top = 20;
  bool is_json = false;
};

void rank(const RankOptions& options, Program& program) {
  const std::vector<KernelKind> kinds =
      options.patterns.empty() ? known_kernel_kinds()
                               : parse_kernel_kinds(read_json(options.patterns), options.patterns);
  const KernelTrace trace = read_trace(options.trace);
  const KernelRanking ranking = rank_kernels(trace, kinds, options.factor);
  if (options.is_json)
    program.out << rank_json(trace, ranking, options.top).dump(2, ' ', false, Json::error_handler_t::replace)
                << "\n";
  else
    program.out << rank_text(trace, ranking, options.top);
}

}  // namespace

void add_rank_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<RankOptions>();
  command
      .add_option("trace", options->trace,
                  "A Chrome trace of torch.profiler (.json, .json.gz), or a SQLite export of Nsight Systems")
      ->required();
  command.add_option("--factor", options->factor, "How much faster a kernel is thought to become")
      ->check(CLI::Range(1.001, 1e6));
  command.add_option("--top", options->top, "Kernels to list")->check(CLI::Range(1, 100000));
  command.add_option(
      "--patterns", options->patterns,
      "Kinds of kernels and their tasks, instead of the project's tools/rank/kernel_patterns.json");
  command.add_flag("--json", options->is_json, "Print JSON");
  command.footer(
      "Gains are of the whole time from the first kernel to the last, and the most that a trace allows: a "
      "kernel\n"
      "saves only time in which no other one runs, and the times in which the GPU runs nothing stay.\n"
      "Example: kernelites rank trace.json.gz --factor 1.5");
  command.callback([options, &program] { rank(*options, program); });
}

}  // namespace kernelites
