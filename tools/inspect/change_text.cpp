// SPDX-License-Identifier: Apache-2.0
// A change between two candidates for people and as JSON.
#include "tools/inspect/change_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "tools/inspect/screen_text.h"
#include "tools/inspect/text_table.h"

namespace kernelites {
namespace {

constexpr const char* k_red = "\x1b[31m";
constexpr const char* k_green = "\x1b[32m";
constexpr std::size_t k_opcodes_shown = 24;

using Rows = std::vector<std::vector<std::string>>;

std::string name_of(const CandidateEnd& end) { return fmt::format("#{}", end.record.ordinal); }

std::string head_text(const CandidateChange& change) {
  std::string text;
  for (const CandidateEnd* end : {&change.before, &change.after}) {
    const CandidateRecord& record = end->record;
    text += clean_line(fmt::format("{} {} {}: {}", name_of(*end), record.operator_name,
                                   record.outcome.empty() ? record.state : record.outcome, record.summary)) +
            "\n";
  }
  if (change.ratio)
    text += fmt::format("{} is {} as fast as {}, {}, {}\n", name_of(change.after),
                        gain_text(change.ratio->ratio, change.is_modelled), name_of(change.before),
                        change.is_modelled
                            ? std::string("modelled")
                            : fmt::format("{} % interval", std::lround(100 * change.ratio->ratio.confidence)),
                        change.ratio->is_paired ? "timed in the same rounds"
                                                : "through a third kernel that both were timed with");
  else
    text += "they were never timed with each other, nor with a third kernel\n";
  return text;
}

std::string times_text(const CandidateChange& change) {
  if (change.times.empty()) return "";
  const auto cell = [](const std::optional<ArmTiming>& timing) {
    return timing ? fmt::format("{:.2f}", timing->time_us_median) : std::string("-");
  };
  const auto share = [](const std::optional<ArmTiming>& timing, double floor_us) {
    return timing && floor_us > 0 ? fmt::format("{:.1f}", 100 * floor_us / timing->time_us_median)
                                  : std::string("?");
  };
  Rows rows{{"workload", name_of(change.before) + " us", name_of(change.after) + " us", "faster", "n", "kind",
             "% of floor", "then", "limit"}};
  for (const WorkloadTimes& times : change.times) {
    const ArmTiming& known = times.after ? *times.after : *times.before;
    rows.push_back({times.workload, cell(times.before), cell(times.after),
                    times.ratio ? gain_text(*times.ratio, known.is_modelled) : std::string("not paired"),
                    fmt::to_string(times.ratio ? times.ratio->rounds : known.samples),
                    known.is_modelled ? "modelled" : "measured", share(times.before, times.floor_us),
                    share(times.after, times.floor_us), times.limit});
  }
  return "\n" + text_table(rows);
}

std::string values_text(const std::string& title, const std::vector<ChangedValue>& values,
                        const CandidateChange& change) {
  if (values.empty()) return "";
  Rows rows{{title, name_of(change.before), name_of(change.after)}};
  for (const ChangedValue& value : values)
    rows.push_back({clean_line(value.name), value.before.empty() ? "-" : clean_line(value.before),
                    value.after.empty() ? "-" : clean_line(value.after)});
  return "\n" + text_table(rows);
}

/// Workloads whose plans change alike share a table.
std::string plans_text(const CandidateChange& change) {
  std::string text;
  std::vector<std::pair<std::vector<ChangedValue>, std::vector<std::string>>> alike;
  const auto is_same = [](const std::vector<ChangedValue>& a, const std::vector<ChangedValue>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
      return x.name == y.name && x.before == y.before && x.after == y.after;
    });
  };
  for (const auto& [workload, values] : change.plans) {
    const auto known =
        std::find_if(alike.begin(), alike.end(), [&](const auto& one) { return is_same(one.first, values); });
    if (known == alike.end())
      alike.push_back({values, {workload}});
    else
      known->second.push_back(workload);
  }
  for (const auto& [values, workloads] : alike) {
    text += fmt::format("\nplan at {}:", fmt::join(workloads, ", "));
    text += values_text("value", values, change);
  }
  return text;
}

std::string difference(const ChangedNumber& number) {
  if (!number.before || !number.after) return "";
  if (*number.before == 0) return *number.after == 0 ? "" : "new";
  const double percent = 100 * (*number.after / *number.before - 1);
  return std::abs(percent) < 0.05 ? "same" : fmt::format("{:+.1f} %", percent);
}

std::string numbers_text(const std::string& title, const std::vector<ChangedNumber>& numbers,
                         const CandidateChange& change, std::size_t count_max, bool has_words) {
  if (numbers.empty()) return "";
  const auto cell = [](const std::optional<double>& value, const std::string& unit) {
    return value ? amount_text(*value, unit == "instructions" ? "" : unit) : std::string("-");
  };
  Rows rows{{title, name_of(change.before), name_of(change.after), "change"}};
  if (has_words) rows[0].push_back("what it is");
  for (const ChangedNumber& number : numbers) {
    if (rows.size() > count_max) break;
    rows.push_back(
        {number.name, cell(number.before, number.unit), cell(number.after, number.unit), difference(number)});
    if (has_words) rows.back().push_back(number.words);
  }
  std::string text = "\n" + text_table(rows);
  if (numbers.size() > count_max) text += fmt::format("and {} more\n", numbers.size() - count_max);
  return text;
}

/// The longest counts first.
std::vector<ChangedNumber> by_size_of_change(std::vector<ChangedNumber> numbers) {
  std::stable_sort(numbers.begin(), numbers.end(), [](const ChangedNumber& a, const ChangedNumber& b) {
    return std::abs(a.after.value_or(0) - a.before.value_or(0)) >
           std::abs(b.after.value_or(0) - b.before.value_or(0));
  });
  return numbers;
}

std::string painted(const std::string& text, const char* color, bool has_color) {
  return has_color ? color + text + "\x1b[0m" : text;
}

std::string unified_text(const std::vector<DiffLine>& lines, const ChangeView& view) {
  std::string text;
  for (const DiffHunk& hunk : hunks_of(lines, view.context)) {
    int old_count = 0, new_count = 0, old_first = 0, new_first = 0;
    for (std::size_t i = hunk.begin; i < hunk.end; ++i) {
      if (lines[i].old_line > 0 && old_count++ == 0) old_first = lines[i].old_line;
      if (lines[i].new_line > 0 && new_count++ == 0) new_first = lines[i].new_line;
    }
    text += fmt::format("@@ -{},{} +{},{} @@\n", old_first, old_count, new_first, new_count);
    for (std::size_t i = hunk.begin; i < hunk.end; ++i) {
      const DiffLine& line = lines[i];
      const std::string shown = clean_line(line.text);
      if (line.kind == DiffLine::Kind::same)
        text += " " + shown + "\n";
      else if (line.kind == DiffLine::Kind::removed)
        text += painted("-" + shown, k_red, view.has_color) + "\n";
      else
        text += painted("+" + shown, k_green, view.has_color) + "\n";
    }
  }
  return text;
}

/// What went and what came of one change stand beside each other.
std::string side_by_side_text(const std::vector<DiffLine>& lines, const ChangeView& view) {
  const std::size_t half = (view.columns - 3) / 2, code = half - 6;
  const auto side = [&](const DiffLine* line, bool is_old) {
    if (!line) return std::string(half, ' ');
    const bool is_changed = line->kind != DiffLine::Kind::same;
    const std::string shown =
        fmt::format("{:>4}{}{}", is_old ? line->old_line : line->new_line,
                    is_changed ? (is_old ? " -" : " +") : "  ", padded_to(clean_line(line->text), code));
    return is_changed ? painted(shown, is_old ? k_red : k_green, view.has_color) : shown;
  };
  std::string text;
  for (const DiffHunk& hunk : hunks_of(lines, view.context)) {
    if (!text.empty()) text += std::string(view.columns - 1, '-') + "\n";
    for (std::size_t i = hunk.begin; i < hunk.end;) {
      if (lines[i].kind == DiffLine::Kind::same) {
        text += side(&lines[i], true) + " | " + side(&lines[i], false) + "\n";
        ++i;
        continue;
      }
      std::size_t removed = i;
      while (removed < hunk.end && lines[removed].kind == DiffLine::Kind::removed) ++removed;
      std::size_t added = removed;
      while (added < hunk.end && lines[added].kind == DiffLine::Kind::added) ++added;
      for (std::size_t row = 0; row < std::max(removed - i, added - removed); ++row)
        text += side(i + row < removed ? &lines[i + row] : nullptr, true) + " | " +
                side(removed + row < added ? &lines[removed + row] : nullptr, false) + "\n";
      i = added;
    }
  }
  return text;
}

Json number_json(const ChangedNumber& number) {
  const auto value = [](const std::optional<double>& known) { return known ? Json(*known) : Json(); };
  return {{"name", number.name},
          {"unit", number.unit},
          {"words", number.words},
          {"before", value(number.before)},
          {"after", value(number.after)}};
}

template <typename Item, typename Convert>
Json list_json(const std::vector<Item>& items, Convert convert) {
  Json json = Json::array();
  for (const Item& item : items) json.push_back(convert(item));
  return json;
}

Json value_json(const ChangedValue& value) {
  return {{"name", value.name}, {"before", value.before}, {"after", value.after}};
}

Json times_json(const WorkloadTimes& times) {
  return {{"workload", times.workload},
          {"before", times.before ? Json(*times.before) : Json()},
          {"after", times.after ? Json(*times.after) : Json()},
          {"gain", times.ratio ? gain_json(*times.ratio) : Json()},
          {"floor_us", times.floor_us},
          {"limit", times.limit}};
}

Json line_json(const DiffLine& line) {
  constexpr const char* k_kinds[] = {"same", "removed", "added"};
  return {{"kind", k_kinds[static_cast<int>(line.kind)]},
          {"old_line", line.old_line},
          {"new_line", line.new_line},
          {"text", line.text}};
}

Json end_json(const CandidateEnd& end) {
  return {{"ordinal", end.record.ordinal},        {"id", end.record.id},
          {"operator", end.record.operator_name}, {"outcome", end.record.outcome},
          {"summary", end.record.summary},        {"speedup", end.end.specimen.speedup}};
}

}  // namespace

std::string gain_text(const PairedRatio& ratio, bool is_modelled) {
  if (is_modelled) return fmt::format("{:.3f}x", std::exp(-ratio.log_ratio_median));
  return fmt::format("{:.3f}x [{:.3f}, {:.3f}]", std::exp(-ratio.log_ratio_median),
                     std::exp(-ratio.log_ratio_high), std::exp(-ratio.log_ratio_low));
}

Json gain_json(const PairedRatio& ratio) {
  return {{"speedup", std::exp(-ratio.log_ratio_median)},
          {"low", std::exp(-ratio.log_ratio_high)},
          {"high", std::exp(-ratio.log_ratio_low)},
          {"confidence", ratio.confidence},
          {"rounds", ratio.rounds}};
}

std::string amount_text(double value, const std::string& unit) {
  if (unit == "%") return fmt::format("{:.1f} %", value);
  const char* prefix = "";
  double shown = value;
  // Counts below 10,000 are told whole.
  constexpr std::pair<double, const char*> k_prefixes[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e4, "k"}};
  for (const auto& [size, name] : k_prefixes)
    if (std::abs(value) >= size) {
      shown = value / (size == 1e4 ? 1e3 : size);
      prefix = name;
      break;
    }
  const bool is_whole = *prefix == 0 && shown == std::floor(shown);
  const std::string number = is_whole ? fmt::format("{:.0f}", shown) : fmt::format("{:.4g}", shown);
  const std::string name = std::string(prefix) + (unit == "bytes"                 ? "B"
                                                  : *prefix != 0 && !unit.empty() ? " " + unit
                                                                                  : unit);
  return name.empty() ? number : number + " " + name;
}

std::string source_change_text(const CandidateChange& change, const ChangeView& view) {
  const int removed = line_count(change.source, DiffLine::Kind::removed),
            added = line_count(change.source, DiffLine::Kind::added);
  if (removed + added == 0) return "the sources are the same\n";
  return fmt::format("source: {} lines went, {} came\n", removed, added) +
         (view.columns >= k_side_by_side_columns ? side_by_side_text(change.source, view)
                                                 : unified_text(change.source, view));
}

std::string change_text(const CandidateChange& change, const ChangeView& view) {
  std::string text = head_text(change) + times_text(change);
  text += values_text("tunable", change.tunables, change);
  text += values_text("kind", change.descriptors, change);
  text += plans_text(change);
  text += values_text("kernel", change.resources, change);
  text += numbers_text("instructions in the code", change.instructions, change, k_opcodes_shown, false);
  text += numbers_text("opcode", by_size_of_change(change.opcodes), change, k_opcodes_shown, false);
  for (const auto& [workload, numbers] : change.counters)
    text += fmt::format("\nhardware counters at {}, one launch with cold caches:", workload) +
            numbers_text("counter", numbers, change, 64, view.columns >= k_side_by_side_columns);
  return text + "\n" + source_change_text(change, view);
}

Json change_json(const CandidateChange& change) {
  Json json{{"before", end_json(change.before)}, {"after", end_json(change.after)}};
  json["gain"] = change.ratio ? gain_json(change.ratio->ratio) : Json();
  json["is_paired"] = change.ratio && change.ratio->is_paired;
  json["times"] = list_json(change.times, times_json);
  json["tunables"] = list_json(change.tunables, value_json);
  json["descriptors"] = list_json(change.descriptors, value_json);
  json["plans"] = Json::object();
  for (const auto& [workload, values] : change.plans) json["plans"][workload] = list_json(values, value_json);
  json["resources"] = list_json(change.resources, value_json);
  json["instructions"] = list_json(change.instructions, number_json);
  json["opcodes"] = list_json(change.opcodes, number_json);
  json["counters"] = Json::object();
  for (const auto& [workload, numbers] : change.counters)
    json["counters"][workload] = list_json(numbers, number_json);
  json["source"] = list_json(change.source, line_json);
  return json;
}

}  // namespace kernelites
