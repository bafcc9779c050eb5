// SPDX-License-Identifier: Apache-2.0
// steer.json: what may stand in it, what is refused, and the file that changes, breaks and goes.
#include "engine/search/steering.h"

#include <fstream>

#include "engine/core/error.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;

namespace {

const SteeringNames k_names{{"small", "large"}, {"direct/fma/tile"}};

Steering parsed(const std::string& text) {
  return parse_steering(parse_json(text, "steer.json"), "steer.json", k_names);
}

void write(const std::filesystem::path& file, const std::string& text) { write_text_atomically(file, text); }

}  // namespace

TEST_CASE("steering is read back as it was written, and what steers nothing is left out") {
  Steering steering{.operators = {{"edit", 2}},
                    .endpoints = {{"large", 0}},
                    .focus_cells = {"direct/fma/tile"},
                    .hints = {"keep keys in registers"},
                    .pause = true,
                    .stop = true};
  CHECK(parse_steering(steering_json(steering), "", k_names) == steering);
  CHECK(steering_json({}) == Json::object());
  CHECK(parsed("{} // nothing") == Steering{});
}

TEST_CASE("steering names what a run has, within limits") {
  CHECK_THROWS_AS(parsed(R"({"operators": {"dance": 1}})"), ConfigError);
  CHECK_THROWS_WITH(parsed(R"({"operators": {"edit": -1}})"), Catch::Contains("operators.edit: is -1"));
  CHECK_THROWS_AS(parsed(R"({"endpoints": {"huge": 1}})"), ConfigError);
  CHECK_THROWS_AS(parsed(R"({"focus_cells": ["moon/fma/tile"]})"), ConfigError);
  CHECK_THROWS_AS(parsed(R"({"hints": [""]})"), ConfigError);
  CHECK_THROWS_AS(parsed(R"({"hints": "one"})"), ConfigError);
  CHECK_THROWS_AS(parsed(R"({"hints": [")" + std::string(k_hint_bytes_max + 1, 'x') + "\"]}"), ConfigError);
  CHECK_THROWS_AS(parsed(R"({"hints": ["1","2","3","4","5","6","7","8","9"]})"), ConfigError);
  CHECK_THROWS_AS(parsed(R"({"pause": 1})"), ConfigError);
  CHECK_THROWS_AS(parsed(R"({"halt": true})"), ConfigError);
}

TEST_CASE("a hint is one line") {
  CHECK(parsed(R"({"hints": ["one\n# Two"]})").hints.at(0).find('\n') == std::string::npos);
}

TEST_CASE("a file is taken when it comes, changes and goes, and once each") {
  const TemporaryFolder folder;
  SteerFile file(folder.path() / "steer.json", k_names);
  CHECK_FALSE(file.poll());
  write(folder.path() / "steer.json", R"({"pause": true})");
  const auto paused = file.poll();
  REQUIRE(paused);
  CHECK(paused->problem.empty());
  CHECK(file.steering().pause);
  CHECK_FALSE(file.poll());
  write(folder.path() / "steer.json", R"({"stop": true})");
  REQUIRE(file.poll());
  CHECK_FALSE(file.steering().pause);
  std::filesystem::remove(folder.path() / "steer.json");
  REQUIRE(file.poll());
  CHECK(file.steering() == Steering{});
}

TEST_CASE("a malformed file is named, and what it said before stays in force") {
  const TemporaryFolder folder;
  SteerFile file(folder.path() / "steer.json", k_names);
  write(folder.path() / "steer.json", R"({"hints": ["a"]})");
  file.poll();
  for (const std::string& text : {std::string("{\"hints\": ["), std::string("[]"), std::string("{\"x\": 1}"),
                                  std::string(k_steering_bytes_max + 1, ' ')}) {
    write(folder.path() / "steer.json", text);
    const auto change = file.poll();
    REQUIRE(change);
    CHECK(change->problem.rfind("steer.json: ", 0) == 0);  // not the folder as well
    CHECK(file.steering().hints == std::vector<std::string>{"a"});
    CHECK_FALSE(file.poll());
  }
}

TEST_CASE("no file is watched where there is no path") {
  SteerFile file({}, k_names);
  CHECK_FALSE(file.poll());
}
