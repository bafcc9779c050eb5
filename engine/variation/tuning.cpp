// SPDX-License-Identifier: Apache-2.0
// Values of the tunables that a source declares: complete, default, allowed, and the neighbours of a choice.
#include "engine/variation/tuning.h"

#include <fmt/format.h>

#include <array>
#include <optional>

#include "engine/core/error.h"
#include "engine/core/formula.h"
#include "engine/variation/text_rules.h"

namespace kernelites {
namespace {

void add_one_change(const Tunable& tunable, const Tuning& from, std::size_t count_max,
                    std::vector<Tuning>& out) {
  for (std::int64_t value : tunable.values) {
    if (value == from.at(tunable.name) || out.size() >= count_max) continue;
    Tuning tuning = from;
    tuning[tunable.name] = value;
    out.push_back(std::move(tuning));
  }
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// What follows "where:" in a `//` comment line; nullopt if the line is no such comment.
std::optional<std::string_view> rule_text(std::string_view line) {
  line = trimmed(line);
  if (!line.starts_with("//")) return std::nullopt;
  line = trimmed(line.substr(2));
  if (!line.starts_with("where:")) return std::nullopt;
  return trimmed(line.substr(6));
}

std::map<std::string, double> names_of(const Tuning& tuning) {
  std::map<std::string, double> names;
  for (const auto& [name, value] : tuning) names[name] = static_cast<double>(value);
  return names;
}

/// Throws Error if a formula is wrong for these names.
bool holds(const TuningRule& rule, const std::map<std::string, double>& names) {
  const double left = evaluate_formula(rule.left, names), right = evaluate_formula(rule.right, names);
  if (rule.comparison == "<=") return left <= right;
  if (rule.comparison == ">=") return left >= right;
  if (rule.comparison == "<") return left < right;
  if (rule.comparison == ">") return left > right;
  return (left == right) == (rule.comparison == "==");
}

std::optional<TuningRule> read_rule(std::string_view text) {
  constexpr std::array<std::string_view, 6> k_comparisons{"<=", ">=", "==", "!=", "<", ">"};
  for (const std::string_view comparison : k_comparisons) {
    const auto at = text.find(comparison);
    if (at == std::string_view::npos) continue;
    return TuningRule{std::string(trimmed(text.substr(0, at))), std::string(comparison),
                      std::string(trimmed(text.substr(at + comparison.size())))};
  }
  return std::nullopt;
}

}  // namespace

std::vector<TuningRule> parse_tuning_rules(std::string_view source, std::vector<std::string>* problems) {
  std::vector<TuningRule> rules;
  const auto report = [&](std::size_t line, const std::string& problem) {
    if (problems != nullptr) problems->push_back(fmt::format("line {}: where comment: {}", line, problem));
  };
  const auto defaults = names_of(with_full_tuning({std::string(source), {}}).tuning);
  const std::vector<std::string_view> lines = split_lines(source);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const auto text = rule_text(lines[i]);
    if (!text) continue;
    const auto rule = read_rule(*text);
    if (!rule || rules.size() == k_tuning_rules_max) {
      report(i + 1, rule ? fmt::format("more than {} rules", k_tuning_rules_max)
                         : std::string("expected FORMULA <= FORMULA"));
      continue;
    }
    try {
      holds(*rule, defaults);
      rules.push_back(*rule);
    } catch (const Error& error) {
      report(i + 1, error.what());
    }
  }
  return rules;
}

bool is_allowed(const std::vector<TuningRule>& rules, const Tuning& tuning) {
  const auto names = names_of(tuning);
  for (const TuningRule& rule : rules) {
    try {
      if (!holds(rule, names)) return false;
    } catch (const Error&) {
      return false;  // a division by zero at these values: not a choice that the rule lets pass
    }
  }
  return true;
}

std::string describe_change(const Tuning& from, const Tuning& to) {
  std::string text;
  for (const auto& [name, value] : to)
    if (from.at(name) != value)
      text += fmt::format("{}{} {} -> {}", text.empty() ? "" : ", ", name, from.at(name), value);
  return text;
}

Candidate with_full_tuning(Candidate candidate) {
  Tuning full;
  for (const Tunable& tunable : parse_tunables(candidate.source)) {
    if (tunable.values.empty()) continue;
    const auto chosen = candidate.tuning.find(tunable.name);
    full[tunable.name] = chosen != candidate.tuning.end() ? chosen->second : tunable.values.front();
  }
  candidate.tuning = std::move(full);
  return candidate;
}

std::string source_with_choices(const Candidate& candidate) {
  std::string text;
  Tuning open = with_full_tuning(candidate).tuning;
  for (std::string_view rest = candidate.source; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    const std::vector<Tunable> declared = parse_tunables(line);
    const auto choice = declared.empty() ? open.end() : open.find(declared.front().name);
    if (choice == open.end() || choice->second == declared.front().values.front()) {
      text += line;
    } else {
      text += fmt::format("{}= {}", line.substr(0, line.find('=')), choice->second);
      for (const std::int64_t value : declared.front().values)
        if (value != choice->second) text += fmt::format(" | {}", value);
    }
    if (choice != open.end()) open.erase(choice);  // a second declaration is none
    rest.remove_prefix(line.size());
    if (!rest.empty()) text += '\n', rest.remove_prefix(1);
  }
  return text;
}

std::vector<Tuning> neighbours(const std::vector<Tunable>& tunables, const Tuning& from, int changes,
                               std::size_t count_max) {
  KERNELITES_ASSERT(changes == 1 || changes == 2);
  std::vector<Tuning> out;
  for (std::size_t i = 0; i < tunables.size(); ++i) {
    if (changes == 1) {
      add_one_change(tunables[i], from, count_max, out);
      continue;
    }
    std::vector<Tuning> first;
    add_one_change(tunables[i], from, count_max, first);
    for (const Tuning& tuning : first)
      for (std::size_t j = i + 1; j < tunables.size(); ++j)
        add_one_change(tunables[j], tuning, count_max, out);
  }
  return out;
}

}  // namespace kernelites
