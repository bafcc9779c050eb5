// SPDX-License-Identifier: Apache-2.0
// kernelites dataset: runs as step-centric records for supervised and reinforcement fine-tuning.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <memory>
#include <optional>

#include "engine/core/embedded_file.h"
#include "engine/core/error.h"
#include "engine/llm/make_endpoint.h"
#include "tools/command_line.h"
#include "tools/dataset/kin_groups.h"
#include "tools/dataset/redaction.h"
#include "tools/dataset/run_steps.h"
#include "tools/dataset/whole_file.h"
#include "tools/inspect/run_reader.h"

namespace kernelites {

extern const std::vector<EmbeddedFile> k_dataset_files;

namespace {

namespace fs = std::filesystem;

struct DatasetOptions {
  std::vector<std::string> runs;
  std::string out;
  std::string splits = "train=0.9,test=0.1";
  bool has_programs = false;
  bool is_lineage_only = false;
  bool is_schema = false;
};

/// What the first reading finds: everything but the texts.
struct Collected {
  std::map<std::string, std::string> relative_of;  ///< by step: each once, whatever number of runs has it
  std::map<std::string, std::size_t> left_out;
};

std::string run_name(const std::string& folder) {
  const fs::path path = fs::path(folder).lexically_normal();
  return path.has_filename() ? path.filename().string() : path.parent_path().filename().string();
}

/// All runs, one after the other; only one is open.
void read_runs(const DatasetOptions& options, const StepVisitor& visitor) {
  for (const std::string& folder : options.runs) {
    const RunReader run = read_run(folder);
    const StepChoice choice{
        .has_programs = options.has_programs,
        .secrets = keys_named_in(run.archive.run().configuration, EndpointContext::environment_secret)};
    read_steps(run.archive, run.task, run_name(folder), choice, visitor);
  }
}

Collected collect(const DatasetOptions& options, KinGroups& groups) {
  Collected all;
  read_runs(options, {.kin = [&](Kin kin) { groups.add(kin); },
                      .step =
                          [&](Step step) {
                            if (!all.relative_of.emplace(std::move(step.id), std::move(step.relative)).second)
                              ++all.left_out["repeated"];
                          },
                      .left_out = [&](const std::string& why) { ++all.left_out[why]; }});
  return all;
}

/// A file that is there when it is whole, or a stream.
class Lines {
 public:
  Lines(const std::string& file, std::ostream& stream) : stream_(stream) {
    if (!file.empty()) own_.emplace(file);
  }
  void add(const std::string& line) {
    if (own_) return own_->add(line + "\n");
    stream_ << line << "\n";
    if (!stream_) throw Error("the output cannot be written");
  }
  void finish() {
    if (own_) own_->finish();
  }

 private:
  std::ostream& stream_;
  std::optional<WholeFile> own_;
};

/// What a person wants to know of the file, one sentence or two.
std::string summary(const Collected& all, const std::vector<SplitShare>& shares,
                    const std::map<std::string, std::size_t>& by_split, std::size_t families) {
  std::size_t steps = 0;
  for (const auto& [split, count] : by_split) steps += count;
  std::vector<std::string> parts, left_out;
  bool has_empty = false;
  for (const SplitShare& share : shares) {
    const auto found = by_split.find(share.name);
    const std::size_t count = found == by_split.end() ? 0 : found->second;
    has_empty = has_empty || count == 0;
    parts.push_back(fmt::format("{} {}", count, share.name));
  }
  for (const auto& [why, count] : all.left_out) left_out.push_back(fmt::format("{} {}", count, why));
  std::string text = fmt::format("{} steps of {} families: {}", steps, families, fmt::join(parts, ", "));
  if (!left_out.empty()) text += fmt::format("; left out: {}", fmt::join(left_out, ", "));
  if (has_empty && steps > 0)
    text +=
        "\nA family is never split. Runs of other tasks bring other families; --lineage-only lets kernels "
        "that were only "
        "shown in a prompt lie in another split.";
  return text + "\n";
}

void write_dataset(const DatasetOptions& options, Program& program) {
  if (options.is_schema) {
    program.out << k_dataset_files.front().text;
    return;
  }
  if (options.runs.empty()) throw ConfigError("RUN", "", "expected at least one run folder, or --schema");
  const std::vector<SplitShare> shares = parse_splits(options.splits);
  KinGroups groups(!options.is_lineage_only);
  Collected all = collect(options, groups);
  std::map<std::string, std::size_t> sizes, by_split;
  for (const auto& [step, relative] : all.relative_of) ++sizes[groups.group_of(relative)];
  const std::map<std::string, std::string> split_of = assign_splits(sizes, shares);
  Lines lines(options.out, program.out);
  // Read again, a step at a time: what a run has told meanwhile, and what was written already, is left out.
  const auto write = [&](Step step) {
    if (all.relative_of.erase(step.id) == 0) return;
    step.record["family"] = groups.group_of(step.relative);
    const std::string& split = split_of.at(step.record["family"].get<std::string>());
    step.record["split"] = split;
    ++by_split[split];
    // A reply may hold bytes that are no UTF-8.
    lines.add(step.record.dump(-1, ' ', false, Json::error_handler_t::replace));
  };
  read_runs(options, {.kin = [](Kin) {}, .step = write, .left_out = [](const std::string&) {}});
  lines.finish();
  (options.out.empty() ? program.err : program.out) << summary(all, shares, by_split, sizes.size());
}

}  // namespace

void add_dataset_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<DatasetOptions>();
  command.add_option("runs", options->runs, "Run folders");
  command.add_option("--out", options->out,
                     "File for the records, one JSON object a line; else standard output");
  command.add_option("--splits", options->splits, "Names and shares of the splits");
  command.add_flag("--all", options->has_programs,
                   "Also what no model proposed: seeds, tunings, minimisations");
  command.add_flag("--lineage-only", options->is_lineage_only,
                   "Families by parents and duplicates alone, not by what prompts showed besides");
  command.add_flag("--schema", options->is_schema, "Print the records' JSON schema");
  command.footer("Example: kernelites dataset runs/first runs/night --out steps.jsonl");
  command.callback([options, &program] { write_dataset(*options, program); });
}

}  // namespace kernelites
