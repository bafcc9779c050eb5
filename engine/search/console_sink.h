// SPDX-License-Identifier: Apache-2.0
// The run as plain lines: one per result, and a progress line now and then.
#pragma once

#include <ostream>
#include <string>

#include "engine/search/event_sink.h"

namespace kernelites {

/// Prints to `out`, which outlives it; no line is longer than 79 characters.
/// Whether NO_COLOR is set is for the caller to know.
class ConsoleSink : public EventSink {
 public:
  ConsoleSink(std::ostream& out, bool has_color) : out_(out), has_color_(has_color) {}
  void on_event(const Json& event) override;

  /// "2 seeds +   37 told  5 elites 10.4 %  QD 7.31  best 1.840x  $0.42  3.1/min"
  std::string progress_line() const;

 private:
  void on_rejected(const Json& event);
  void print(const std::string& line, const char* color = "");
  void on_told(const Json& event);
  void take_grid_figures(const Json& event);

  std::ostream& out_;
  bool has_color_;
  int told_ = 0;
  int told_before_ = 0;  // in earlier sessions
  int seeds_ = 0;        // of those told; budgets do not count them
  int rejected_ = 0;
  std::string last_refusal_;  // without its number; what repeats it is counted, not printed
  int alike_ = 0;
  std::size_t elites_ = 0;
  double coverage_ = 0;
  double qd_score_ = 0;
  double best_speedup_ = 0;
  double usd_ = 0;
  double time_s_ = 0;
};

}  // namespace kernelites
