// SPDX-License-Identifier: Apache-2.0
// kernelites lineage: who came from whom as a tree, with what each step gained.
#include <fmt/format.h>

#include <cmath>
#include <map>
#include <memory>
#include <set>

#include "archive/elite_rule.h"
#include "engine/search/specimens.h"
#include "tools/clean_output.h"
#include "tools/command_line.h"
#include "tools/inspect/family_tree.h"
#include "tools/inspect/run_reader.h"

namespace kernelites {
namespace {

struct LineageOptions {
  std::string run;
  std::string id;
  bool has_all = false;
  bool is_json = false;
};

/// Who is shown: around one candidate its ancestors and descendants; else the ancestry of elites and champions, or all.
FamilyTree chosen_tree(const RunReader& run, const LineageOptions& options) {
  const FamilyTree whole = family_tree(run.archive.candidates());
  if (!options.id.empty()) {
    const std::uint64_t ordinal = find_candidate(run, options.id).ordinal;
    std::set<std::uint64_t> kept = ancestors_of(whole, {ordinal});
    kept.merge(descendants_of(whole, ordinal));
    return pruned(whole, kept);
  }
  if (options.has_all) return whole;
  std::set<std::uint64_t> winners;
  for (const Elite& elite : run.archive.grid().elites()) winners.insert(elite.ordinal);
  for (const Champion& champion : run.archive.champions()) winners.insert(champion.ordinal);
  return pruned(whole, ancestors_of(whole, winners));
}

/// What a line says of a candidate besides its number.
struct Step {
  CandidateRecord record;
  std::string cell;  ///< where it is the elite; empty: nowhere
  double speedup = 0;
  std::optional<PairedRatio> over_parent;
};

class Reader {
 public:
  explicit Reader(const RunReader& run) : run_(run) {
    for (const Elite& elite : run.archive.grid().elites()) cells_[elite.ordinal] = elite.cell;
  }

  Step step(std::uint64_t ordinal) const {
    const auto evaluated = run_.archive.evaluated(ordinal);
    const Specimen specimen = specimen_of(*evaluated, run_.baseline_id, run_.weights);
    const auto cell = cells_.find(ordinal);
    Step step{.record = evaluated->record,
              .cell = cell == cells_.end() ? "" : cell->second,
              .speedup = specimen.speedup,
              .over_parent = {}};
    if (!step.record.parents.empty() && specimen.duel)
      step.over_parent = pooled_ratio(*specimen.duel, step.record.parents.front(), run_.weights);
    return step;
  }

 private:
  const RunReader& run_;
  std::map<std::uint64_t, std::string> cells_;
};

std::string line_of(const Step& step) {
  std::string line = fmt::format("#{} {} {}", step.record.ordinal, step.record.operator_name,
                                 step.record.outcome.empty() ? step.record.state : step.record.outcome);
  if (step.speedup > 0) line += fmt::format(" {:.3f}x", step.speedup);
  if (const auto& ratio = step.over_parent)
    // Ratios are of times: below 1 the child is faster.
    line += fmt::format(" (over its parent {:.3f} [{:.3f}, {:.3f}])", std::exp(-ratio->log_ratio_median),
                        std::exp(-ratio->log_ratio_high), std::exp(-ratio->log_ratio_low));
  if (!step.cell.empty()) line += " elite of " + step.cell;
  return line + (step.record.summary.empty() ? "" : ": " + step.record.summary);
}

void print_tree(const FamilyTree& tree, const Reader& reader, std::uint64_t ordinal,
                const std::string& indent, std::ostream& out) {
  const auto children = tree.children.find(ordinal);
  if (children == tree.children.end()) return;
  for (std::size_t i = 0; i < children->second.size(); ++i) {
    const bool is_last = i + 1 == children->second.size();
    const std::uint64_t child = children->second[i];
    out << indent << (is_last ? "`- " : "|- ") << line_of(reader.step(child)) << "\n";
    print_tree(tree, reader, child, indent + (is_last ? "   " : "|  "), out);
  }
}

Json tree_json(const FamilyTree& tree, const Reader& reader) {
  Json nodes = Json::array();
  for (const auto& [ordinal, parent] : tree.parent) {
    const Step step = reader.step(ordinal);
    Json node{{"ordinal", ordinal},
              {"id", step.record.id},
              {"parent", parent ? Json(*parent) : Json()},
              {"operator", step.record.operator_name},
              {"outcome", step.record.outcome},
              {"cell", step.cell},
              {"speedup", step.speedup},
              {"summary", step.record.summary}};
    if (const auto& ratio = step.over_parent)
      node["over_parent"] = {{"speedup", std::exp(-ratio->log_ratio_median)},
                             {"low", std::exp(-ratio->log_ratio_high)},
                             {"high", std::exp(-ratio->log_ratio_low)},
                             {"confidence", ratio->confidence},
                             {"rounds", ratio->rounds}};
    nodes.push_back(std::move(node));
  }
  return nodes;
}

void lineage(const LineageOptions& options, Program& program) {
  const RunReader run = read_run(options.run);
  const FamilyTree tree = chosen_tree(run, options);
  const Reader reader(run);
  if (options.is_json) {
    program.out << tree_json(tree, reader).dump(2) << "\n";
    return;
  }
  for (const std::uint64_t root : tree.roots) {
    program.out << line_of(reader.step(root)) << "\n";
    print_tree(tree, reader, root, "", program.out);
  }
  if (tree.roots.empty()) program.out << "nobody is in the archive yet\n";
}

}  // namespace

void add_lineage_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<LineageOptions>();
  command.add_option("run", options->run, "The run folder")->required();
  command.add_option("id", options->id, "Only the ancestors and descendants of this candidate");
  command.add_flag("--all", options->has_all, "Also those that lead to no elite and no champion");
  command.add_flag("--json", options->is_json, "Print JSON");
  command.footer("Example: kernelites lineage runs/first 12");
  command.callback([options, &program] {
    if (options->is_json) return lineage(*options, program);
    print_clean(program, [&](Program& screen) { lineage(*options, screen); });
  });
}

}  // namespace kernelites
