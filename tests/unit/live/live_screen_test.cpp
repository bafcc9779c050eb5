// SPDX-License-Identifier: Apache-2.0
// The picture of a run on a terminal that is played here: what stands on it, how often it is drawn, what is sent.
#include "tools/live/live_screen.h"

#include <algorithm>
#include <sstream>

#include "tests/support/catch.h"
#include "tests/support/hand_clock.h"
#include "tools/inspect/heat_map.h"
#include "tools/inspect/screen_text.h"

using namespace kernelites;
using namespace std::chrono_literals;

namespace {

/// As much of a terminal as the picture uses: lines that wrap, cursor up, erase to the end of line and screen, colours.
class Terminal {
 public:
  explicit Terminal(std::size_t columns) : columns_(columns) {}
  /// Everything that was on it, above the screen too.
  std::vector<std::string> lines() const {
    std::vector<std::string> lines = lines_;
    while (!lines.empty() && lines.back().empty()) lines.pop_back();
    return lines;
  }
  void write(const std::string& text) {
    for (std::size_t at = 0; at < text.size(); ++at) {
      if (text[at] != '\x1b') {
        put(text[at]);
        continue;
      }
      REQUIRE(text.at(at + 1) == '[');
      std::size_t end = at + 2;
      while (!std::isalpha(static_cast<unsigned char>(text.at(end)))) ++end;
      control(text[end], std::atoi(text.substr(at + 2, end - at - 2).c_str()));
      at = end;
    }
  }
  /// Lines that no longer fit are broken, as terminals do it.
  void resize(std::size_t columns) {
    columns_ = columns;
    std::vector<std::string> broken;
    for (const std::string& line : lines_) {
      std::size_t from = 0;
      do broken.push_back(line.substr(from, columns));
      while ((from += columns) < line.size());
    }
    row_ += broken.size() - lines_.size();
    lines_ = broken;
  }

 private:
  void put(char c) {
    if (c == '\n') {
      ++row_;
      column_ = 0;
    } else if (c == '\r') {
      column_ = 0;
    } else {
      if (column_ == columns_) ++row_, column_ = 0;
      line().resize(std::max(line().size(), column_ + 1), ' ');
      line()[column_++] = c;
    }
  }
  void control(char what, int count) {
    if (what == 'A') {
      REQUIRE(row_ >= static_cast<std::size_t>(count));
      row_ -= static_cast<std::size_t>(count);
    } else if (what == 'J' || what == 'K') {
      line().resize(std::min(line().size(), column_));
      if (what == 'J') lines_.resize(row_ + 1);
    } else {
      REQUIRE(what == 'm');
    }
  }
  std::string& line() {
    if (lines_.size() <= row_) lines_.resize(row_ + 1);
    return lines_[row_];
  }
  std::vector<std::string> lines_;
  std::size_t columns_, row_ = 0, column_ = 0;
};

/// A screen on such a terminal, and a clock that is turned by hand.
struct Stage {
  std::ostringstream out;
  HandClock clock;
  ScreenSize size;
  Grid grid;
  LiveScreen screen;
  Terminal terminal{80};
  std::size_t read = 0;

  explicit Stage(bool has_color = false)
      : screen({.out = out,
                .limits = {.candidates = 40},
                .has_color = has_color,
                .grid = [this] { return grid; },
                .size = [this] { return size; },
                .clock = clock.clock()}) {}
  /// What was sent since the last call.
  std::string sent() {
    const std::string text = out.str().substr(read);
    read += text.size();
    terminal.write(text);
    return text;
  }
  void tell(std::uint64_t ordinal, const std::string& outcome) {
    screen.on_event({{"event", "told"},
                     {"ordinal", ordinal},
                     {"operator", "refine"},
                     {"outcome", outcome},
                     {"cell", "shared/fma/tile"},
                     {"time_s", static_cast<double>(ordinal)},
                     {"best_speedup", 1.5}});
  }
  std::string text() {
    sent();
    std::string text;
    for (const std::string& line : terminal.lines()) text += line + "\n";
    return text;
  }
};

const Json k_started = {{"event", "started"}, {"task", "rmsnorm"}, {"device", "vgpu"}, {"time_s", 0.0}};

std::size_t count(const std::string& text, const std::string& word) {
  std::size_t found = 0;
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++found;
  return found;
}

Elite elite(const std::string& cell, double speedup) {
  return {.cell = cell, .ordinal = 1, .candidate_id = "id", .fitness = speedup, .speedup = speedup};
}

}  // namespace

TEST_CASE("the picture is redrawn in place: the terminal holds one of it, the newest") {
  Stage stage;
  stage.screen.on_event(k_started);
  for (std::uint64_t i = 1; i <= 6; ++i) {
    stage.clock.advance(1s);
    stage.tell(i, "tie");
  }
  const std::string text = stage.text();
  CHECK(count(text, "rmsnorm on vgpu") == 1);
  CHECK(count(text, "6 told") == 1);
  CHECK(count(text, "#6 refine tie") == 1);
  CHECK(text.find("15 % of 40 candidates") != std::string::npos);
}

TEST_CASE("at most four pictures are drawn in a second, and the last state is drawn in the end") {
  Stage stage;
  stage.screen.on_event(k_started);
  std::size_t frames = 0;
  for (std::uint64_t i = 1; i <= 100; ++i) {  // a second
    stage.clock.advance(10ms);
    stage.tell(i, "tie");
    frames += stage.sent().empty() ? 0 : 1;
  }
  CHECK(frames <= 5);
  CHECK(frames >= 3);
  stage.clock.advance(1s);
  stage.screen.tick();
  CHECK(stage.text().find("100 told") != std::string::npos);
  stage.clock.advance(1s);
  stage.screen.tick();
  CHECK(stage.sent().empty());  // nothing happened
}

TEST_CASE("lines that did not change are not sent again") {
  Stage stage;
  stage.screen.on_event(k_started);
  for (std::uint64_t i = 1; i <= 10; ++i) stage.tell(i, "tie");
  stage.clock.advance(1s);
  stage.screen.tick();
  stage.sent();
  stage.clock.advance(1s);
  stage.screen.on_event({{"event", "asked"}, {"ordinal", 99}, {"time_s", 10.0}});
  const std::string sent = stage.sent();
  CHECK(sent.find("1 under way") != std::string::npos);
  CHECK(sent.find("#10 refine") == std::string::npos);
  CHECK(sent.size() < 200);
}

TEST_CASE("new elites and incidents are printed above the picture and stay") {
  Stage stage;
  stage.screen.on_event(k_started);
  stage.tell(7, "improved");
  stage.screen.on_event({{"event", "incident"}, {"message", "a worker died\x1b[2J"}});
  stage.screen.on_event({{"event", "steered"}, {"steering", {{"pause", true}}}});
  stage.screen.on_event({{"event", "steering_refused"}, {"problem", "steer.json: x"}});
  for (std::uint64_t i = 10; i < 40; ++i) {
    stage.clock.advance(1s);
    stage.tell(i, "tie");
  }
  const std::vector<std::string> lines = (stage.sent(), stage.terminal.lines());
  REQUIRE(lines.size() > 4);
  CHECK(lines[0] == "#7 refine improved shared/fma/tile");
  CHECK(lines[1] == "incident: a worker died?[2J");
  CHECK(lines[2] == R"(steered: {"pause":true})");
  CHECK(lines[3] == "steering refused: steer.json: x");
}

TEST_CASE("a terminal that becomes narrower keeps no rest of the old picture") {
  Stage stage;
  stage.screen.on_event(k_started);
  for (std::uint64_t i = 1; i <= 4; ++i) stage.tell(i, "tie");
  stage.clock.advance(1s);
  stage.screen.tick();
  stage.sent();
  stage.size.columns = 40;
  stage.terminal.resize(40);
  stage.clock.advance(1s);
  stage.tell(5, "tie");
  const std::string text = stage.text();
  CHECK(count(text, "told") == 1);
  CHECK(count(text, "#5 refine tie") == 1);
  CHECK(count(text, "#4 refine tie") == 1);
}

TEST_CASE("the end leaves the last picture and one line that says why") {
  Stage stage;
  stage.screen.on_event(k_started);
  stage.tell(1, "tie");
  stage.screen.on_event({{"event", "stopping"}, {"grace_s", 5.0}});
  stage.screen.on_event({{"event", "stopped"}, {"reason", "interrupted"}, {"time_s", 3.0}});
  stage.sent();
  const std::vector<std::string> lines = stage.terminal.lines();
  CHECK(lines.back() == "stopped: interrupted");
  CHECK(stage.text().find("0:03 stopped") != std::string::npos);
}

TEST_CASE("without colours no colour is sent, and no mode of the terminal is ever changed") {
  for (const bool has_color : {false, true}) {
    Stage stage(has_color);
    stage.grid.put(elite("shared/fma/tile", 1.5));
    stage.screen.on_event(k_started);
    stage.tell(1, "improved");
    stage.clock.advance(1s);
    stage.tell(2, "tie");
    const std::string all = stage.out.str();
    CHECK((all.find('m', all.find("\x1b[3")) != std::string::npos &&
           all.find("\x1b[32m") != std::string::npos) == has_color);
    CHECK((all.find("\x1b[30;48") != std::string::npos) == has_color);
    CHECK(all.find("\x1b[?") == std::string::npos);
    stage.sent();
  }
}

TEST_CASE("a picture fits its terminal, however small") {
  Grid grid;
  RunProgress progress;
  progress.task = std::string(200, 't');
  for (const std::string& cell : grid.cells()) grid.put(elite(cell, 1.25));
  for (int i = 0; i < 8; ++i) progress.results.push_back({std::string(300, 'r'), false});
  for (const ScreenSize size :
       {ScreenSize{80, 24}, ScreenSize{120, 50}, ScreenSize{100, 12}, ScreenSize{80, 5}}) {
    const std::vector<std::string> lines = live_lines(progress, {.candidates = 40}, grid, size, false);
    CHECK(lines.size() < size.rows);
    for (const std::string& line : lines) CHECK(columns_of(line) < size.columns);
  }
}

TEST_CASE("of a low terminal the results get the rows before the grid does") {
  Grid grid;
  RunProgress progress;
  for (const std::string& cell : grid.cells()) grid.put(elite(cell, 1.25));
  for (int i = 0; i < 5; ++i) progress.results.push_back({"result", false});
  std::size_t taken_before = 0;
  for (std::size_t height = 3; height <= 40; ++height) {
    CAPTURE(height);
    const std::vector<std::string> lines = live_lines(progress, {}, grid, {80, height}, false);
    CHECK(lines.size() < height);
    CHECK(lines.size() >= taken_before);
    taken_before = lines.size();
    const auto results = std::count(lines.begin(), lines.end(), "result");
    CHECK(results == std::clamp<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(height) - 6, 0, 5));
  }
  CHECK(taken_before > 20);  // the grid is there in the end
}

TEST_CASE("a variation is under way from its question to its own end, however much it has evaluated inside") {
  RunProgress progress;
  for (const int ordinal : {1, 2, 3, 4}) progress.take({{"event", "asked"}, {"ordinal", ordinal}});
  for (const int inside : {5, 6, 7}) progress.take({{"event", "told"}, {"ordinal", inside}});
  CHECK(progress.under_way.size() == 4);
  progress.take({{"event", "told"}, {"ordinal", 1}});
  CHECK(progress.under_way == std::set<std::uint64_t>{2, 3, 4});
  progress.take({{"event", "rejected"}, {"ordinal", 2}});
  progress.take({{"event", "handed_in"}, {"ordinal", 6}, {"variation", 3}});
  progress.take({{"event", "prompt_written"}, {"ordinal", 4}});
  CHECK(progress.under_way.empty());
}

TEST_CASE("the heat map shows rows with elites, the best ones where not all fit") {
  Grid grid;
  grid.put(elite(grid.cells().front(), 1.5));
  grid.put(elite(grid.cells().back(), 1.25));
  std::vector<std::string> lines = heat_map_lines(grid, 100, false);
  REQUIRE(lines.size() == 4);
  CHECK(lines[1].find("1.500x") != std::string::npos);
  CHECK(lines[2].find("1.250x") != std::string::npos);
  CHECK(lines[3].find("rows without an elite") != std::string::npos);
  lines = heat_map_lines(grid, 100, false, 1);
  REQUIRE(lines.size() == 3);
  CHECK(lines[1].find("1.500x") != std::string::npos);
  CHECK(lines[2].find("and 1 slower rows") != std::string::npos);
  for (const std::size_t columns : {60, 79, 100, 200})
    for (const std::string& line : heat_map_lines(grid, columns, false)) CHECK(columns_of(line) <= columns);
}
