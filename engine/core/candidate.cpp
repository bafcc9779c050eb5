// SPDX-License-Identifier: Apache-2.0
// Tunables out of `// tune:` comments, the content digest, and JSON of candidates.
#include "engine/core/candidate.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "engine/core/digest.h"
#include "engine/core/identifier.h"

namespace kernelites {
namespace {

constexpr std::size_t k_values_max = 32;

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// What follows "tune:" in a `//` comment line; nullopt if the line is no such comment.
std::optional<std::string_view> tune_text(std::string_view line) {
  line = trimmed(line);
  if (!line.starts_with("//")) return std::nullopt;
  line = trimmed(line.substr(2));
  if (!line.starts_with("tune:")) return std::nullopt;
  return trimmed(line.substr(5));
}

/// Reads "NAME = 1 | 2 | 4" into `tunable`; returns what is wrong with it, or "".
std::string read_tunable(std::string_view text, Tunable& tunable) {
  const auto equals = text.find('=');
  if (equals == std::string_view::npos) return "expected NAME = value | value";
  const std::string_view name = trimmed(text.substr(0, equals));
  if (!is_identifier(name)) return fmt::format("\"{}\" is not an identifier", name.substr(0, 64));
  tunable.name = name;
  for (std::string_view rest = text.substr(equals + 1);;) {
    const auto bar = rest.find('|');
    const std::string_view word = trimmed(rest.substr(0, bar));
    const auto value = whole_number(word);
    if (!value)
      return fmt::format("value \"{}\" of {} is not a whole number", word.substr(0, 64), tunable.name);
    if (std::find(tunable.values.begin(), tunable.values.end(), *value) != tunable.values.end()) {
      return fmt::format("value {} of {} is listed twice", *value, tunable.name);
    }
    if (tunable.values.size() == k_values_max) {
      return fmt::format("{} has more than {} values", tunable.name, k_values_max);
    }
    tunable.values.push_back(*value);
    if (bar == std::string_view::npos) return "";
    rest.remove_prefix(bar + 1);
  }
}

}  // namespace

std::vector<Tunable> parse_tunables(std::string_view source, std::vector<std::string>* problems) {
  std::vector<Tunable> tunables;
  const auto report = [&](int line, const std::string& problem) {
    if (problems) problems->push_back(fmt::format("line {}: tune comment: {}", line, problem));
  };
  int line_number = 0;
  for (std::string_view rest = source; !rest.empty();) {
    const auto end = rest.find('\n');
    const auto text = tune_text(rest.substr(0, end));
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    ++line_number;
    if (!text) continue;
    Tunable tunable;
    std::string problem = read_tunable(*text, tunable);
    const auto has_its_name = [&](const Tunable& other) { return other.name == tunable.name; };
    if (problem.empty() && std::any_of(tunables.begin(), tunables.end(), has_its_name)) {
      problem = fmt::format("{} is declared twice", tunable.name);
    }
    if (problem.empty() && tunables.size() == k_tunables_max) {
      problem = fmt::format("more than {} tunables", k_tunables_max);
    }
    if (problem.empty()) {
      tunables.push_back(std::move(tunable));
    } else {
      report(line_number, problem);
    }
  }
  return tunables;
}

std::string candidate_id(const Candidate& candidate) {
  std::string tuning;
  for (const auto& [name, value] : candidate.tuning) tuning += fmt::format("{}={};", name, value);
  return digest_parts({candidate.source, tuning});
}

void to_json(Json& json, const Candidate& candidate) {
  json = Json{{"source", candidate.source}, {"tuning", candidate.tuning}};
}

void from_json(const Json& json, Candidate& candidate) {
  json.at("source").get_to(candidate.source);
  json.at("tuning").get_to(candidate.tuning);
}

}  // namespace kernelites
