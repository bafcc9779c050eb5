// SPDX-License-Identifier: Apache-2.0
// kernelites knowledge: what runs have learned, as lessons and effect by effect; files joined, and effects forgotten.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <ctime>
#include <memory>

#include "archive/knowledge.h"
#include "engine/core/error.h"
#include "engine/search/recorded_config.h"
#include "engine/search/run_knowledge.h"
#include "engine/variation/lesson_ranking.h"
#include "tools/command_line.h"
#include "tools/export_lessons.h"
#include "tools/inspect/run_reader.h"
#include "tools/inspect/text_table.h"
#include "tools/option_checks.h"

namespace kernelites {
namespace {

constexpr std::size_t k_id_shown = 12;
/// Of variations, in a run whose operators do not name it.
constexpr double k_minimise_share = 0.05;

struct KnowledgeOptions {
  std::string file;
  std::vector<std::string> others;  ///< files, run folders, techniques or ids
  LessonQuery query;
  std::string shape_class;
  double days = 0;
  bool is_json = false;
};

std::vector<const Effect*> pointers(const EffectSet& set) {
  std::vector<const Effect*> all;
  for (const auto& [id, effect] : set.effects) all.push_back(&effect);
  return all;
}

std::string gain_text(double log_gain, double low, double high) {
  return fmt::format("{:.3f}x [{:.3f}, {:.3f}]", std::exp(log_gain), std::exp(low), std::exp(high));
}

Json lesson_json(const Lesson& lesson) {
  Json json{{"technique", lesson.code},
            {"words", lesson.technique},
            {"state", lesson.state},
            {"architecture", lesson.architecture},
            {"shape_class", lesson.shape_class},
            {"gain_expected", lesson.gain_median},
            {"gain_low", lesson.gain_low},
            {"gain_high", lesson.gain_high},
            {"log_gain_bound", lesson.log_gain_bound},
            {"tried", lesson.tried},
            {"helped", lesson.helped},
            {"slower", lesson.slower},
            {"failed", lesson.failed},
            {"predictions", lesson.predictions}};
  if (lesson.predictions > 0) json["predicted_over"] = lesson.predicted_over;
  return json;
}

void list(KnowledgeOptions& options, Program& program) {
  const EffectSet set = Knowledge::open_read_only(options.file).read();
  options.query.now_unix_s = static_cast<double>(std::time(nullptr));
  options.query.count_max = 1000;
  if (!options.shape_class.empty()) options.query.shape_classes = {options.shape_class};
  const std::vector<Lesson> lessons = rank_lessons(pointers(set), options.query);
  Json json = Json::array();
  std::vector<std::vector<std::string>> rows{
      {"technique", "expected gain, 95 %", "tried", "helped", "slower", "failed", "mostly where"}};
  for (const Lesson& lesson : lessons) {
    json.push_back(lesson_json(lesson));
    rows.push_back(
        {lesson.code,
         gain_text(std::log(lesson.gain_median), std::log(lesson.gain_low), std::log(lesson.gain_high)),
         fmt::to_string(lesson.tried), fmt::to_string(lesson.helped), fmt::to_string(lesson.slower),
         fmt::to_string(lesson.failed), fmt::format("{}, {}", lesson.state, lesson.architecture)});
  }
  if (options.is_json) {
    program.out << Json{{"effects", set.effects.size()},
                        {"forgotten", set.forgotten.size()},
                        {"is_modelled", options.query.is_modelled},
                        {"lessons", json}}
                       .dump(2)
                << "\n";
    return;
  }
  program.out << fmt::format(
                     "{} effects, {} forgotten; lessons from {} times, the surest first, warnings last\n",
                     set.effects.size(), set.forgotten.size(),
                     options.query.is_modelled ? "modelled" : "measured")
              << (lessons.empty() ? "none: no technique is known well enough to promise a gain or to warn\n"
                                  : text_table(rows));
}

/// An effect with a technique of that code, or an id that begins so.
bool is_named(const Effect& effect, const std::string& name) {
  return std::find(effect.techniques.begin(), effect.techniques.end(), name) != effect.techniques.end() ||
         (name.size() >= k_id_prefix_min && effect.id.starts_with(name));
}

std::vector<Effect> named(const EffectSet& set, const std::vector<std::string>& names) {
  std::vector<Effect> found;
  for (const auto& [id, effect] : set.effects)
    if (std::any_of(names.begin(), names.end(),
                    [&](const std::string& name) { return is_named(effect, name); }))
      found.push_back(effect);
  return found;
}

void show(const KnowledgeOptions& options, Program& program) {
  const std::vector<Effect> effects = named(Knowledge::open_read_only(options.file).read(), options.others);
  if (effects.empty())
    throw ConfigError("NAME", fmt::format("{}", fmt::join(options.others, " ")),
                      "names no effect: expected the code of a technique or the beginning of an id");
  if (options.is_json) {
    program.out << Json(effects).dump(2) << "\n";
    return;
  }
  for (const Effect& effect : effects) {
    const std::string gain =
        effect.outcome == EffectOutcome::failed
            ? ""
            : gain_text(effect.log_gain, effect.log_gain_low, effect.log_gain_high) +
                  fmt::format(" {}, n = {}, {}", effect.is_modelled ? "modelled" : "measured", effect.rounds,
                              effect.is_paired ? "paired" : "through another");
    program.out << fmt::format("{}  {} {}\n  {} ({}), {}, {}, {}, {}\n  techniques: {}\n",
                               effect.id.substr(0, k_id_shown), effect_outcome_name(effect.outcome), gain,
                               effect.task, effect.family, effect.state, effect.shape_class, effect.device,
                               effect.toolkit, fmt::join(effect.techniques, ", "));
    std::vector<std::string> changes;
    for (const auto& [name, values] : effect.measures)
      changes.push_back(fmt::format("{} {} -> {}", name, values.first, values.second));
    program.out << fmt::format("  measures: {}\n", fmt::join(changes, ", "));
    if (effect.predicted_log_gain)
      program.out << fmt::format("  lessons had promised {:.3f}x\n", std::exp(*effect.predicted_log_gain));
  }
}

/// A run folder's own effects, or a file's.
EffectSet effects_in(const std::string& from) {
  if (!Archive::exists(from)) return Knowledge::open_read_only(from).read();
  const RunReader run = read_run(from);
  const RunConfig config = recorded_run_config(run.archive.run().configuration, from + ": configuration");
  return run_effects(run.archive, run.task, config.effect_min);
}

void report(const std::string& file, std::size_t changed, const char* what, const KnowledgeOptions& options,
            Program& program) {
  if (options.is_json)
    program.out << Json{{"file", file}, {what, changed}}.dump() << "\n";
  else
    program.out << fmt::format("{} effects {} in {}\n", changed, what, file);
}

void join_all(const std::string& into, const std::vector<std::string>& from, const KnowledgeOptions& options,
              Program& program) {
  EffectSet all;
  for (const std::string& one : from)
    all.join(effects_in(one));  // everything is read before anything is made
  report(into, Knowledge::open(into).join(all), "added", options, program);
}

void forget(const KnowledgeOptions& options, Program& program) {
  if (options.others.empty() && options.days <= 0)
    throw ConfigError("NAME", "", "expected techniques or ids, or --older-than DAYS");
  const EffectSet set = Knowledge::open_read_only(options.file).read();
  EffectSet gone;
  for (const Effect& effect : named(set, options.others)) gone.forget(effect.id);
  const double oldest = static_cast<double>(std::time(nullptr)) - options.days * 86400;
  for (const auto& [id, effect] : set.effects)
    if (options.days > 0 && effect.measured_unix_s < oldest) gone.forget(id);
  Knowledge::open(options.file).join(gone);
  report(options.file, gone.forgotten.size(), "forgotten", options, program);
}

CLI::App& add_verb(CLI::App& command, const char* name, const char* purpose,
                   const std::shared_ptr<KnowledgeOptions>& options) {
  CLI::App& verb = *command.add_subcommand(name, purpose);
  verb.add_option("file", options->file, "The knowledge file")->required();
  verb.add_flag("--json", options->is_json, "Print JSON");
  return verb;
}

}  // namespace

void use_knowledge(RunConfig& config, bool is_new) {
  if (config.knowledge.empty()) return;
  config.knowledge = std::filesystem::absolute(config.knowledge).string();
  if (std::filesystem::exists(config.knowledge)) Knowledge::open_read_only(config.knowledge).read();
  if (is_new) config.operators.emplace("minimise", k_minimise_share);
}

void export_lessons(const Archive& archive, const Task& task, const RunConfig& config, bool is_json,
                    Program& program) {
  const std::size_t added = export_knowledge(archive, task, config.effect_min, config.knowledge);
  if (is_json)
    program.out << Json{{"event", "knowledge"}, {"file", config.knowledge}, {"added", added}}.dump() << "\n";
  else
    program.out << fmt::format("{} effects are new in {}\n", added, config.knowledge);
}

void add_knowledge_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<KnowledgeOptions>();
  command.require_subcommand(1);
  command.footer("Example: kernelites knowledge list lessons.db --arch sm_90 (each takes --json and --help)");
  CLI::App& list_verb =
      add_verb(command, "list", "Lessons as prompts rank them, for a case or for all", options);
  list_verb.add_option("--arch", options->query.architecture, "Of the asking run: sm_90");
  list_verb.add_option("--family", options->query.family, "decode, prefill, norm, ...");
  list_verb.add_option("--state", options->query.state, "What limits the parent: memory_latency, ...");
  list_verb.add_option("--shape-class", options->shape_class, "short_memory, long_tensor, ...");
  list_verb.add_option("--dtype", options->query.dtype, "bf16, e4m3, ...");
  list_verb.add_flag("--modelled", options->query.is_modelled, "For runs on the virtual GPU");
  list_verb.footer("Example: kernelites knowledge list lessons.db --arch sm_90 --family decode");
  list_verb.callback([options, &program] { list(*options, program); });

  CLI::App& show_verb = add_verb(command, "show", "Effects one by one, with what was measured", options);
  show_verb.add_option("name", options->others, "Codes of techniques, or beginnings of ids")->required();
  show_verb.footer("Example: kernelites knowledge show lessons.db use_async_copies");
  show_verb.callback([options, &program] { show(*options, program); });

  CLI::App& import_verb = add_verb(command, "import", "Joins other files, or runs, into the file", options);
  import_verb.add_option("from", options->others, "Knowledge files and run folders")->required();
  import_verb.footer("Example: kernelites knowledge import lessons.db theirs.db runs/first");
  import_verb.callback([options, &program] { join_all(options->file, options->others, *options, program); });

  CLI::App& export_verb = add_verb(command, "export", "Joins the file into others", options);
  export_verb.add_option("to", options->others, "Knowledge files; made if they are not there")->required();
  export_verb.footer("Example: kernelites knowledge export lessons.db shared.db");
  export_verb.callback([options, &program] {
    for (const std::string& to : options->others) join_all(to, {options->file}, *options, program);
  });

  CLI::App& forget_verb =
      add_verb(command, "forget", "Takes effects out, so that no merge brings them back", options);
  forget_verb.add_option("name", options->others, "Codes of techniques, or beginnings of ids");
  forget_verb.add_option("--older-than", options->days, "Days")->check(check_not_negative);
  forget_verb.footer("Example: kernelites knowledge forget lessons.db --older-than 365");
  forget_verb.callback([options, &program] { forget(*options, program); });
}

}  // namespace kernelites
