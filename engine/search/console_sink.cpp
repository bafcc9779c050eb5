// SPDX-License-Identifier: Apache-2.0
// The run as plain lines: one per result, and a progress line now and then.
#include "engine/search/console_sink.h"

#include <fmt/format.h>

#include <string_view>

#include "engine/core/plain_line.h"
#include "engine/core/time_verdict.h"

namespace kernelites {
namespace {

constexpr std::size_t k_columns = 79;
constexpr std::string_view k_cut = "...";
constexpr int k_progress_every = 10;  // results

/// `text` as one line of the terminal, cut at a word where it is longer.
std::string fitted(const std::string& text) {
  std::string line = plain_line(text, ' ');
  while (!line.empty() && line.back() == ' ') line.pop_back();
  if (line.size() <= k_columns) return line;
  const std::size_t word = line.rfind(' ', k_columns - k_cut.size());
  line = plain_line(line, ' ',
                    word == std::string::npos || word < k_columns / 2 ? k_columns - k_cut.size() : word);
  return line + std::string(k_cut);
}

constexpr const char* k_green = "\x1b[32m";
constexpr const char* k_red = "\x1b[31m";

}  // namespace

void ConsoleSink::on_event(const Json& event) {
  const std::string name = event.at("event").get<std::string>();
  time_s_ = event.value("time_s", time_s_);
  if (name == "started") {
    told_before_ = told_ = event.value("told", 0);
    seeds_ = event.value("seeds", 0);
    usd_ = event.value("usd", 0.0);
    take_grid_figures(event);
    print(fmt::format("{} on {}{}", event.value("task", ""), event.value("device", ""),
                      event.value("is_resumed", false) ? ", resumed" : ""));
  } else if (name == "answered") {
    usd_ += event.value("usd", 0.0);
  } else if (name == "told") {
    on_told(event);
  } else if (name == "rejected") {
    on_rejected(event);
  } else if (name == "incident") {
    print("incident: " + event.value("message", ""), k_red);
  } else if (name == "steered") {
    print("steered: " + event.value("steering", Json::object()).dump());
  } else if (name == "steering_refused") {
    print("steering refused: " + event.value("problem", ""), k_red);
  } else if (name == "seed_untimed") {
    const Verdict verdict = Verdict::failed(event.value("stage", ""), event.value("reason", ""), "");
    print(fmt::format("#{} {} {} ({}: {})", event.value("ordinal", 0), event.value("seed", ""),
                      is_without_time(verdict) ? "passes and is left out: no time here"
                                               : "is left out: refused while timed",
                      verdict.stage, verdict.reason),
          k_red);
  } else if (name == "stopping") {
    print(
        fmt::format("stopping; waiting at most {:.0f} s for what is under way", event.value("grace_s", 0.0)));
  } else if (name == "stopped") {
    print(progress_line());
    const std::string detail = event.value("detail", "");
    print(fmt::format("stopped: {}{}", event.value("reason", ""), detail.empty() ? "" : " (" + detail + ")"));
  }
}

/// A tuner at its end refuses the same again and again: once is told, then how often.
void ConsoleSink::on_rejected(const Json& event) {
  ++rejected_;
  const std::string words = fmt::format("{} refused: {}: {}", event.value("operator", ""),
                                        event.value("reason", ""), event.value("message", ""));
  if (words == last_refusal_) {
    ++alike_;
    return;
  }
  print(fmt::format("#{} {}", event.value("ordinal", 0), words));
  last_refusal_ = words;
}

std::string ConsoleSink::progress_line() const {
  const double rate = time_s_ > 0 ? 60 * (told_ - told_before_) / time_s_ : 0;
  const std::string seeds = seeds_ > 0 ? fmt::format("{} seeds +", seeds_) : "";
  return fmt::format("{}{:>5} told  {:>2} elites {:>4.1f} %  QD {:.2f}  best {:.3f}x  ${:.2f}  {:.1f}/min",
                     seeds, told_ - seeds_, elites_, 100 * coverage_, qd_score_, best_speedup_, usd_, rate);
}

void ConsoleSink::take_grid_figures(const Json& event) {
  elites_ = event.value("elites", elites_);
  coverage_ = event.value("coverage", coverage_);
  qd_score_ = event.value("qd_score", qd_score_);
  best_speedup_ = event.value("best_speedup", best_speedup_);
}

void ConsoleSink::on_told(const Json& event) {
  ++told_;
  if (event.value("operator", "") == "seed") ++seeds_;
  take_grid_figures(event);
  const std::string outcome = event.value("outcome", "");
  const double speedup = event.value("speedup", 0.0);
  const bool is_elite = outcome == "added" || outcome == "improved";
  const std::string reason = event.value("reason", "");
  const std::string what =
      reason.empty() ? event.value("cell", "") : fmt::format("{}: {}", event.value("stage", ""), reason);
  print(fmt::format("#{} {} {} {} {}", event.value("ordinal", 0), event.value("operator", ""), outcome, what,
                    speedup > 0 ? fmt::format("{:.3f}x", speedup) : ""),
        is_elite ? k_green : "");
  if (told_ % k_progress_every == 0) print(progress_line());
}

void ConsoleSink::print(const std::string& line, const char* color) {
  if (alike_ > 0) out_ << fmt::format("  and {} more like it\n", alike_);
  alike_ = 0;
  last_refusal_.clear();
  const std::string text = fitted(line);
  if (has_color_ && *color != 0)
    out_ << color << text << "\x1b[0m\n";
  else
    out_ << text << '\n';
  out_ << std::flush;
}

}  // namespace kernelites
