// SPDX-License-Identifier: Apache-2.0
// kernelites show: everything about one candidate of a run, or why a variation gave none.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>

#include "engine/core/claims.h"
#include "engine/core/error.h"
#include "engine/search/judgements.h"
#include "engine/search/placement.h"
#include "engine/variation/prompt_values.h"
#include "engine/variation/tuning.h"
#include "tools/clean_output.h"
#include "tools/command_line.h"
#include "tools/inspect/evaluation_text.h"
#include "tools/inspect/run_reader.h"
#include "tools/inspect/screen_text.h"

namespace kernelites {
namespace {

struct ShowOptions {
  std::string run;
  std::string id;
  bool is_source = false;
  bool has_prompt = false;
  bool is_json = false;
};

/// What the summary says and the code does not do.
std::vector<std::string> claims_of(const CandidateRecord& record, const EvaluatedCandidate& evaluated) {
  return unexecuted_claims(record.summary, evaluated.examination->examination->descriptors);
}

Json show_json(const RunReader& run, const CandidateRecord& record) {
  Json json{{"ordinal", record.ordinal},
            {"id", record.id},
            {"operator", record.operator_name},
            {"generation", record.generation},
            {"parents", record.parents},
            {"summary", record.summary},
            {"endpoint", record.endpoint},
            {"prompt_digest", record.prompt_digest},
            {"state", record.state},
            {"outcome", record.outcome},
            {"tuning", record.candidate.tuning},
            {"source", record.candidate.source}};
  for (const Judgement& judgement : judgements(run.archive)) {
    if (judgement.ordinal == record.ordinal) json["judgement"] = event_of(judgement);
  }
  if (const auto evaluated = run.archive.evaluated(record.ordinal)) {
    if (evaluated->examination && evaluated->examination->examination) {
      json[k_claims_flag] = claims_of(record, *evaluated);
      json["examination"] = *evaluated->examination->examination;
      json["provenance"] = evaluated->examination->provenance;
    }
    if (evaluated->duel && evaluated->duel->duel) {
      json["duel"] = *evaluated->duel->duel;
      json["speedup"] = speedup_over(*evaluated->duel->duel, run.baseline_id, run.weights);
      json["rates"] = rates_json(run.task, run.device, *evaluated->duel->duel);
    }
  }
  return json;
}

/// Arms are labelled by id; people know candidates by number.
Duel with_numbers(const RunReader& run, Duel duel) {
  for (std::string& arm : duel.arms)
    if (const auto record = arm == "candidate" ? std::nullopt : run.archive.find_candidate(arm))
      arm = fmt::format("#{}", record->ordinal);
  return duel;
}

void print_lineage(const RunReader& run, const CandidateRecord& record, std::ostream& out) {
  out << "lineage:";
  for (const CandidateRecord& step : run.archive.lineage(record.ordinal))
    out << fmt::format(" {}#{} {}", step.ordinal == record.ordinal ? "" : "<- ", step.ordinal,
                       step.operator_name);
  out << "\n";
}

void print_calls(const RunReader& run, std::uint64_t variation, bool has_prompt, std::ostream& out) {
  for (const ModelCallRecord& call : run.archive.model_calls(variation)) {
    out << fmt::format("model call {}: {} {}, {} + {} tokens, ${:.4f}, prompt {}\n", call.request_id,
                       call.model, call.state, call.input_tokens, call.output_tokens, call.usd,
                       call.prompt_digest.substr(0, 12));
    if (!has_prompt) continue;
    for (const Json& message : call.prompt)
      out << fmt::format("--- {} ---\n{}\n", message.value("role", ""), message.value("text", ""));
    out << fmt::format("--- reply ---\n{}\n", call.reply);
  }
}

/// The variation that `name` numbers, where that has no candidate of its own: refused, under way, or handed in.
std::optional<VariationRecord> variation_alone(const RunReader& run, const std::string& name) {
  const auto ordinal = ordinal_from(name);
  if (!ordinal || run.archive.candidate(*ordinal)) return std::nullopt;
  return run.archive.variation(*ordinal);
}

std::optional<RejectionRecord> rejection_of(const RunReader& run, std::uint64_t ordinal) {
  for (RejectionRecord& rejection : run.archive.rejections())
    if (rejection.ordinal == ordinal) return std::move(rejection);
  return std::nullopt;
}

void show_variation(const RunReader& run, const VariationRecord& variation, const ShowOptions& options,
                    Program& program) {
  const auto rejection = rejection_of(run, variation.ordinal);
  if (options.is_json) {
    Json json{{"ordinal", variation.ordinal},       {"operator", variation.operator_name},
              {"generation", variation.generation}, {"parents", variation.parents},
              {"endpoint", variation.endpoint},     {"state", variation.state},
              {"decision", variation.decision}};
    if (rejection) json["rejection"] = {{"reason", rejection->reason}, {"message", rejection->message}};
    program.out << json.dump(2) << "\n";
    return;
  }
  if (options.is_source)
    throw ConfigError("ID", options.id, "is a variation without a candidate of its own: it has no source");
  program.out << fmt::format("#{} {}: ", variation.ordinal, variation.operator_name);
  if (rejection)
    program.out << fmt::format("no candidate, {}\n{}\n", rejection->reason, rejection->message);
  else if (variation.decision.contains("submitted"))
    program.out << fmt::format("handed in #{}, which it had evaluated\n",
                               variation.decision.at("submitted").get<std::uint64_t>());
  else
    program.out << (variation.state == "open" ? "under way\n" : "no candidate\n");
  for (const std::string& parent : variation.parents)
    if (const auto record = run.archive.find_candidate(parent))
      program.out << fmt::format("from #{} {}\n", record->ordinal, record->summary);
  print_calls(run, variation.ordinal, options.has_prompt, program.out);
  if (!options.has_prompt && !run.archive.model_calls(variation.ordinal).empty())
    program.out << fmt::format("kernelites show {} {} --prompt: what was asked and answered\n", options.run,
                               variation.ordinal);
}

void show(const ShowOptions& options, Program& program) {
  const RunReader run = read_run(options.run);
  if (const auto variation = variation_alone(run, options.id)) {
    show_variation(run, *variation, options, program);
    return;
  }
  const CandidateRecord record = find_candidate(run, options.id);
  if (options.is_json) {
    program.out << show_json(run, record).dump(2) << "\n";
    return;
  }
  if (options.is_source) {
    program.out << source_with_choices(record.candidate);
    return;
  }
  std::vector<std::string> tuning;
  for (const auto& [name, value] : record.candidate.tuning)
    tuning.push_back(fmt::format("{}={}", name, value));
  program.out << fmt::format("#{} {}\n{}: {}\ngeneration {}, tunables {}, outcome {}\n", record.ordinal,
                             record.id, record.operator_name, record.summary, record.generation,
                             tuning.empty() ? "none" : fmt::format("{}", fmt::join(tuning, " ")),
                             record.outcome.empty() ? record.state : record.outcome);
  print_lineage(run, record, program.out);
  if (const std::string words = judgement_words(run.archive, record.ordinal); !words.empty())
    program.out << "judge: " << words << "\n";
  print_calls(run, record.variation, options.has_prompt, program.out);
  if (const auto evaluated = run.archive.evaluated(record.ordinal)) {
    if (evaluated->examination && evaluated->examination->examination) {
      if (const auto claims = claims_of(record, *evaluated); !claims.empty())
        program.out << fmt::format("the summary claims what the code does not execute: {}\n",
                                   fmt::join(claims, ", "));
      program.out << "\n" << examination_text(*evaluated->examination->examination);
    }
    if (evaluated->duel && evaluated->duel->duel) {
      const double speedup = speedup_over(*evaluated->duel->duel, run.baseline_id, run.weights);
      const Verdict& verdict = evaluated->duel->duel->verdict;
      if (!verdict.is_passed)
        program.out << "\nits last duel " << describe_verdict(verdict);
      else
        program.out << fmt::format("\nspeed-up over the baseline: {:.3f}x (geometric mean by weight)\n",
                                   speedup);
      program.out << duel_text(run.task, run.device, with_numbers(run, *evaluated->duel->duel));
      for (const std::string& note : evaluated->duel->duel->notes)
        program.out << "note: " << clean_line(note) << "\n";
    }
  }
  program.out << "\n" << record.candidate.source;
}

}  // namespace

void add_show_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<ShowOptions>();
  command.add_option("run", options->run, "The run folder")->required();
  command
      .add_option("id", options->id,
                  "The candidate or variation: its number, or the first characters of an id")
      ->required();
  command.add_flag("--source", options->is_source,
                   "Only the source, as a file: its choices of tunables stand as defaults");
  command.add_flag("--prompt", options->has_prompt, "Also prompts and replies");
  command.add_flag("--json", options->is_json, "Print JSON");
  command.footer("Example: kernelites show runs/first 3fa41c --prompt");
  command.callback([options, &program] {
    if (options->is_json || options->is_source) return show(*options, program);
    print_clean(program, [&](Program& screen) { show(*options, screen); });
  });
}

}  // namespace kernelites
