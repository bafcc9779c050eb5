// SPDX-License-Identifier: Apache-2.0
// A run as a picture of a few lines that is redrawn in place: progress, grid, best, spend, rate, last results.
#include "tools/live/live_screen.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/inspect/heat_map.h"
#include "tools/inspect/screen_text.h"

namespace kernelites {
namespace {

constexpr const char* k_green = "\x1b[32m";
constexpr const char* k_red = "\x1b[31m";
constexpr std::size_t k_bar_columns = 40;
constexpr std::size_t k_results_least = 5;  // before there is room for the grid
constexpr std::size_t k_above_max = 64;     // lines that wait for the next picture

std::string duration_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::max(0.0, seconds));
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string painted(const std::string& text, const char* color, bool has_color) {
  return has_color ? color + text + "\x1b[0m" : text;
}

/// How much of the limit that is nearest is used up; none: no limit.
struct Share {
  double used = 0;
  std::string of;
};
std::optional<Share> nearest_limit(const RunProgress& progress, const BudgetLimits& limits) {
  std::optional<Share> nearest;
  const auto consider = [&](double used, double limit, const std::string& words) {
    if (limit <= 0) return;
    if (!nearest || used / limit > nearest->used) nearest = Share{used / limit, words};
  };
  consider(progress.told - progress.seeds, static_cast<double>(limits.candidates),
           fmt::format("of {} candidates", limits.candidates));
  consider(progress.usd, limits.usd, fmt::format("of ${:g}", limits.usd));
  consider(progress.time_s / 60, limits.minutes, fmt::format("of {:g} minutes", limits.minutes));
  return nearest;
}

std::string limit_text(const Share& share) {
  const double used = std::min(share.used, 1.0);
  const auto filled = static_cast<std::size_t>(std::lround(used * k_bar_columns));
  return fmt::format("[{}{}] {:.0f} % {}", std::string(filled, '#'), std::string(k_bar_columns - filled, '.'),
                     100 * used, share.of);
}

std::vector<std::string> head_lines(const RunProgress& progress, const BudgetLimits& limits) {
  std::vector<std::string> lines;
  lines.push_back(fmt::format("{} on {}  {} {}{}", progress.task, progress.device,
                              duration_text(progress.time_s), progress.state,
                              progress.is_resumed ? ", resumed" : ""));
  if (const auto share = nearest_limit(progress, limits)) lines.push_back(limit_text(*share));
  lines.push_back(fmt::format("{} told, {} seeds, {} under way, {:.1f}/min", progress.told - progress.seeds,
                              progress.seeds, progress.under_way.size(), progress.rate()));
  std::string best = fmt::format("best {:.3f}x", progress.best_speedup);
  if (progress.best_time_s >= 0)
    best += fmt::format(" since {}", duration_text(progress.time_s - progress.best_time_s));
  lines.push_back(fmt::format("{}  {} elites {:.1f} %  QD {:.2f}  ${:.2f}{}  device {:.0f} s", best,
                              progress.elites, 100 * progress.coverage, progress.qd_score, progress.usd,
                              limits.usd > 0 ? fmt::format(" of {:g}", limits.usd) : "", progress.device_s));
  lines.push_back(fmt::format("this session: {} failed, {} refused, {} of known code, {} incidents",
                              progress.failed, progress.refused, progress.duplicates, progress.incidents));
  return lines;
}

/// Rows of the screen that lines take which were drawn at another width.
std::size_t rows_taken(const std::vector<std::string>& lines, std::size_t columns) {
  std::size_t rows = 0;
  for (const std::string& line : lines) {
    std::size_t width = 0;
    for (std::size_t at = 0; at < line.size(); ++at) {
      if (line[at] == '\x1b') {
        at = std::min(line.find('m', at), line.size() - 1);
        continue;
      }
      width += (static_cast<unsigned char>(line[at]) & 0xC0) != 0x80 ? 1 : 0;
    }
    rows += std::max<std::size_t>(1, (width + columns - 1) / columns);
  }
  return rows;
}

}  // namespace

std::vector<std::string> live_lines(const RunProgress& progress, const BudgetLimits& limits, const Grid& grid,
                                    ScreenSize size, bool has_color) {
  const std::size_t width = std::max<std::size_t>(size.columns, 20) - 1;
  const std::size_t rows = std::max<std::size_t>(size.rows, 3) - 1;
  std::vector<std::string> lines;
  for (const std::string& line : head_lines(progress, limits))
    lines.push_back(cut_to(clean_line(line), width));
  const std::size_t results = std::min(progress.results.size(), k_results_kept);
  // Results come before the grid, which has a line above, one of names, and one that tells of other rows.
  const std::size_t others = lines.size() + 3 + (results > 0 ? 1 + std::min(results, k_results_least) : 0);
  if (grid.elite_count() > 0 && rows > others) {
    lines.emplace_back();
    for (std::string& line : heat_map_lines(grid, width, has_color, rows - others))
      lines.push_back(std::move(line));
  }
  if (results > 0 && rows > lines.size() + 1) {
    lines.emplace_back();
    const std::size_t count = std::min(results, rows - lines.size());
    for (std::size_t i = results - count; i < results; ++i) {
      const ResultLine& result = progress.results[i];
      const std::string text = cut_to(clean_line(result.words), width);
      lines.push_back(result.is_elite ? painted(text, k_green, has_color) : text);
    }
  }
  if (lines.size() > rows) lines.resize(rows);
  return lines;
}

void LiveScreen::on_event(const Json& event) {
  const std::string name = event.value("event", "");
  progress_.take(event);
  is_stale_ = true;
  if (name == "told" && progress_.results.back().is_elite)
    print_above(progress_.results.back().words, k_green);
  else if (name == "incident")
    print_above("incident: " + progress_.last_incident, k_red);
  else if (name == "steered")
    print_above("steered: " + event.value("steering", Json::object()).dump(), "");
  else if (name == "steering_refused")
    print_above("steering refused: " + event.value("problem", ""), k_red);
  else if (name == "stopping")
    print_above(
        fmt::format("stopping; waiting at most {:.0f} s for what is under way", event.value("grace_s", 0.0)),
        "");
  if (name != "stopped") {
    tick();
    return;
  }
  draw();
  parts_.out << "stopped: " << clean_line(progress_.end) << "\n" << std::flush;
  shown_.clear();
}

void LiveScreen::tick() {
  const Clock::Steady now = parts_.clock.steady();
  if (!is_stale_ || (drawn_ && now - *drawn_ < k_frame_step)) return;
  draw();
}

void LiveScreen::clear() {
  if (shown_.empty()) return;
  // Lines that no longer fit were broken by the terminal when it became narrower.
  const std::size_t rows = rows_taken(shown_, std::max<std::size_t>(parts_.size().columns, 1));
  parts_.out << fmt::format("\x1b[{}A\r\x1b[J", rows);
  shown_.clear();
}

void LiveScreen::print_above(const std::string& line, const char* color) {
  // With the next picture: what comes in bursts must not mean more pictures.
  if (above_.size() >= k_above_max) above_.erase(above_.begin());
  above_.push_back({line, color});
}

void LiveScreen::draw() {
  const ScreenSize size = parts_.size();
  std::vector<std::string> lines =
      live_lines(progress_, parts_.limits, parts_.grid(), size, parts_.has_color);
  if (!above_.empty() || !(size == shown_size_) || lines.size() != shown_.size()) {
    clear();
    for (const auto& [line, color] : above_) {
      const std::string text = cut_to(clean_line(line), std::max<std::size_t>(size.columns, 20) - 1);
      parts_.out << (*color != 0 ? painted(text, color, parts_.has_color) : text) << "\n";
    }
    above_.clear();
    for (const std::string& line : lines) parts_.out << line << "\n";
  } else {
    // From the first line of the picture down; what did not change is passed over.
    parts_.out << fmt::format("\x1b[{}A", lines.size());
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (lines[i] != shown_[i]) parts_.out << "\r" << lines[i] << "\x1b[K";
      parts_.out << "\n";
    }
  }
  parts_.out << std::flush;
  shown_ = std::move(lines);
  shown_size_ = size;
  drawn_ = parts_.clock.steady();
  is_stale_ = false;
}

}  // namespace kernelites
