// SPDX-License-Identifier: Apache-2.0
// The run as lines in a terminal: one per result, and a progress line that stays at the bottom.
#pragma once

#include <ostream>
#include <string>

#include "engine/search/event_sink.h"

namespace kernelites {

/// How the terminal is.
struct ConsoleStyle {
  bool is_terminal =
      false;               ///< the progress line is rewritten in place; otherwise it is printed now and then
  bool has_color = false;  ///< never set where NO_COLOR is
};

/// Prints to `out`, which outlives it; no line is longer than 79 characters.
class ConsoleSink : public EventSink {
 public:
  ConsoleSink(std::ostream& out, ConsoleStyle style) : out_(out), style_(style) {}
  void on_event(const Json& event) override;

  /// "2 seeds +   37 told  5 elites 10.4 %  QD 7.31  best 1.840x  $0.42  3.1/min"
  std::string progress_line() const;

 private:
  void print(const std::string& line, const char* color = "");
  void on_told(const Json& event);
  void take_grid_figures(const Json& event);

  std::ostream& out_;
  ConsoleStyle style_;
  int told_ = 0;
  int told_before_ = 0;  // in earlier sessions
  int seeds_ = 0;        // of those told; budgets do not count them
  int rejected_ = 0;
  std::size_t elites_ = 0;
  double coverage_ = 0;
  double qd_score_ = 0;
  double best_speedup_ = 0;
  double usd_ = 0;
  double time_s_ = 0;
};

}  // namespace kernelites
