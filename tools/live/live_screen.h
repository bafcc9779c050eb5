// SPDX-License-Identifier: Apache-2.0
// A run as a picture of a few lines that is redrawn in place: progress, grid, best, spend, rate, last results.
//
// It stays in the terminal's own screen: no mode is changed and the cursor is never hidden, so that whatever ends the
// process leaves a clean terminal with the last picture in it. What is worth keeping, new elites and incidents, is
// printed above it and scrolls away as any output does. At most four pictures are drawn in a second, and only lines
// that changed are sent, for slow connections.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "archive/grid.h"
#include "engine/core/clock.h"
#include "engine/search/event_sink.h"
#include "engine/search/run_config.h"
#include "tools/live/run_progress.h"

namespace kernelites {

struct ScreenSize {
  std::size_t columns = 80;
  std::size_t rows = 24;
  bool operator==(const ScreenSize&) const = default;
};

/// Between two pictures.
inline constexpr std::chrono::milliseconds k_frame_step{250};

/// The lines of one picture, none wider than `size.columns` - 1 on the screen and fewer than `size.rows`.
std::vector<std::string> live_lines(const RunProgress& progress, const BudgetLimits& limits, const Grid& grid,
                                    ScreenSize size, bool has_color);

class LiveScreen : public EventSink {
 public:
  struct Parts {
    std::ostream& out;  ///< outlives the screen
    BudgetLimits limits;
    bool has_color = false;
    std::function<Grid()> grid;        ///< as it is now
    std::function<ScreenSize()> size;  ///< asked before every picture: terminals are resized
    Clock clock;
  };
  explicit LiveScreen(Parts parts) : parts_(std::move(parts)) {}

  void on_event(const Json& event) override;
  /// Draws what happened since the last picture, if it is time. To be called now and then.
  void tick();

 private:
  void draw();
  void print_above(const std::string& line, const char* color);
  void clear();

  Parts parts_;
  RunProgress progress_;
  std::vector<std::pair<std::string, const char*>> above_;  // lines with their colours, to be printed
  std::vector<std::string> shown_;                          // the picture on the screen
  ScreenSize shown_size_;
  std::optional<Clock::Steady> drawn_;
  bool is_stale_ = false;
};

}  // namespace kernelites
