// SPDX-License-Identifier: Apache-2.0
// The console: no line too long, no escape codes where there is no terminal.
#include "engine/search/console_sink.h"

#include <sstream>

#include "engine/search/event_log.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;

namespace {

Json told(int ordinal) {
  return {{"event", "told"},      {"time_s", 60.0},      {"ordinal", ordinal},
          {"operator", "refine"}, {"outcome", "added"},  {"cell", "cp_async/mma/split_kv"},
          {"speedup", 1.5},       {"elites", 5},         {"coverage", 0.104},
          {"qd_score", 7.31},     {"best_speedup", 1.84}};
}

std::string printed(const std::vector<Json>& events, bool has_color = false) {
  std::ostringstream out;
  ConsoleSink sink(out, has_color);
  for (const Json& event : events) sink.on_event(event);
  return out.str();
}

}  // namespace

TEST_CASE("results are plain lines") {
  const std::string text = printed({told(3)});
  CHECK(text == "#3 refine added cp_async/mma/split_kv 1.500x\n");
}

TEST_CASE("what failed is told with its stage and reason") {
  Json event = told(4);
  event.update({{"outcome", "failed"}, {"cell", ""}, {"speedup", 0.0}});
  event.update({{"stage", "sanitize"}, {"reason", "race"}});
  CHECK(printed({event}) == "#4 refine failed sanitize: race\n");
}

TEST_CASE("a refused reply is told with its reason") {
  const Json event{{"event", "rejected"},
                   {"ordinal", 5},
                   {"operator", "edit"},
                   {"reason", "no_code"},
                   {"message", "a text"}};
  CHECK(printed({event}) == "#5 edit refused: no_code: a text\n");
}

TEST_CASE("a seed without a time is named before anything is told") {
  Json event{{"event", "seed_untimed"},
             {"ordinal", 2},
             {"seed", "naive.cu"},
             {"stage", "time"},
             {"reason", "not_modelled"}};
  CHECK(printed({event}) == "#2 naive.cu passes and is left out: no time here (time: not_modelled)\n");
  event["reason"] = "timed_output_wrong";
  CHECK(printed({event}) == "#2 naive.cu is left out: refused while timed (time: timed_output_wrong)\n");
}

TEST_CASE("what steers a run is told, and why it does not") {
  CHECK(printed({{{"event", "steered"}, {"steering", {{"pause", true}}}}}) == "steered: {\"pause\":true}\n");
  CHECK(printed({{{"event", "steering_refused"}, {"problem", "steer.json: x"}}}) ==
        "steering refused: steer.json: x\n");
}

TEST_CASE("seeds are counted apart, as budgets do") {
  std::vector<Json> events;
  for (int i = 1; i <= 10; ++i) events.push_back(told(i));
  for (int i = 0; i < 2; ++i) events[i]["operator"] = "seed";
  CHECK_THAT(printed(events), Catch::Contains("2 seeds +    8 told   5 elites"));
}

TEST_CASE("every tenth result brings the progress line") {
  std::vector<Json> events;
  for (int i = 1; i <= 10; ++i) events.push_back(told(i));
  CHECK_THAT(printed(events),
             Catch::Contains("10 told   5 elites 10.4 %  QD 7.31  best 1.840x  $0.00  10.0/min"));
}

TEST_CASE("a resumed run begins with the figures of the grid it has") {
  const Json started{{"event", "started"}, {"task", "t"},        {"device", "d"}, {"told", 9},
                     {"seeds", 2},         {"usd", 1.5},         {"elites", 3},   {"coverage", 0.0625},
                     {"qd_score", 4.0},    {"best_speedup", 2.0}};
  CHECK_THAT(printed({started, {{"event", "stopped"}, {"reason", "budget"}}}),
             Catch::Contains("2 seeds +    7 told   3 elites  6.2 %  QD 4.00  best 2.000x  $1.50"));
}

TEST_CASE("color is used only where it is wanted") {
  CHECK_THAT(printed({told(1)}, true), Catch::Contains("\x1b[32m"));
  CHECK_THAT(printed({told(1)}, false), !Catch::Contains("\x1b[32m"));
}

TEST_CASE("a hostile message stays one short line") {
  const Json event{{"event", "rejected"},
                   {"ordinal", 1},
                   {"operator", "refine"},
                   {"message", std::string(500, 'x') + "\x1b[2J\n"}};
  const std::string text = printed({event});
  CHECK(text.size() <= 80);
  CHECK(text.find('\x1b') == std::string::npos);
}

TEST_CASE("what is too long is cut at a word, and says so") {
  const std::string text =
      printed({{{"event", "incident"}, {"message", std::string(70, 'a') + " tunables were tried"}}});
  CHECK(text == "incident: " + std::string(66, 'a') + "...\n");
  CHECK(printed({{{"event", "incident"}, {"message", std::string(50, 'a') + " of the parent's tunables"}}}) ==
        "incident: " + std::string(50, 'a') + " of the parent's...\n");
}

TEST_CASE("a refusal that is repeated is told once, and then how often") {
  Json event{{"event", "rejected"},
             {"ordinal", 5},
             {"operator", "tune"},
             {"reason", "tune_exhausted"},
             {"message", "m"}};
  std::vector<Json> events(4, event);
  event["message"] = "another";
  events.push_back(event);
  CHECK(
      printed(events) ==
      "#5 tune refused: tune_exhausted: m\n  and 3 more like it\n#5 tune refused: tune_exhausted: another\n");
}

TEST_CASE("the event log has one line per event and survives a torn one") {
  TemporaryFolder folder;
  const auto file = folder.path() / "events.jsonl";
  std::ofstream(file) << "{\"event\": \"to";
  {
    EventLog log(file);
    log.on_event({{"event", "a"}, {"text", "\xff"}});
    log.on_event({{"event", "b"}});
  }
  std::ifstream in(file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  REQUIRE(lines.size() == 3);
  CHECK(Json::parse(lines[1]).at("event") == "a");
  CHECK(Json::parse(lines[2]).at("event") == "b");
}
