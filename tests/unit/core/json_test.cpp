// SPDX-License-Identifier: Apache-2.0
// Whole numbers out of JSON: what no integer holds is refused wherever a value is read, and never converted.
#include "engine/core/json.h"

#include <array>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "engine/core/error.h"
#include "engine/core/json_shape.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;

namespace {

/// What a configuration with `n` = `value` is told about it; empty: nothing.
template <typename T>
std::string complaint(const char* value) {
  const Json json = parse_json(std::string("{\"n\": ") + value + "}", "run.json");
  ObjectReader reader(json, "run.json", "budget");
  try {
    reader.required<T>("n");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

const char* const k_no_ints[] = {
    "1e30", "-1e300", "-1.5", "2147483648", "-2147483649", "18446744073709551615", "true", "\"5\"", "null"};

}  // namespace

TEST_CASE("what no int holds is refused by every way to read one") {
  for (const char* text : k_no_ints) {
    INFO(text);
    const Json value = Json::parse(text), object{{"n", value}}, array = Json::array({1, value});
    int number = 7;
    CHECK_THROWS_AS(value.get<int>(), Json::exception);
    CHECK_THROWS_AS(object.at("n").get_to(number), Json::exception);
    CHECK_THROWS_AS(object.value("n", 3), Json::exception);
    CHECK_THROWS_AS(array.get<std::vector<int>>(), Json::exception);
    CHECK_THROWS_AS((array.get<std::array<int, 2>>()), Json::exception);
    CHECK_THROWS_AS((array.get<std::pair<int, int>>()), Json::exception);
    CHECK_THROWS_AS((object.get<std::map<std::string, int>>()), Json::exception);
    CHECK(number == 7);
  }
  CHECK_THROWS_AS(Json(-1).get<std::uint64_t>(), Json::exception);
  CHECK_THROWS_AS(Json(256).get<std::uint8_t>(), Json::exception);
}

TEST_CASE("whole numbers are read up to their type's ends, and as reals without a fraction") {
  CHECK(Json::parse("-2147483648").get<int>() == -2147483647 - 1);
  CHECK(Json::parse("18446744073709551615").get<std::uint64_t>() == UINT64_MAX);
  CHECK(Json::parse("-9223372036854775808").get<std::int64_t>() == INT64_MIN);
  CHECK(Json::parse("40.0").get<int>() == 40);
  CHECK(Json::parse("1e3").get<std::vector<int>::size_type>() == 1000);
  CHECK(Json::parse("true").get<bool>());
  CHECK(Json::parse("[1, 2]").get<std::vector<std::uint8_t>>() == std::vector<std::uint8_t>{1, 2});
}

TEST_CASE("a field's reader names file, field and the numbers that it takes") {
  CHECK(complaint<int>("1e30") == "run.json: budget.n: expected a whole number");
  CHECK(complaint<int>("3000000000") ==
        "run.json: budget.n: expected a whole number from -2147483648 to 2147483647");
  CHECK(complaint<std::uint64_t>("-1") ==
        "run.json: budget.n: expected a whole number from 0 to 18446744073709551615");
  CHECK(complaint<std::vector<std::string>>("[\"a\", 3]") ==
        "run.json: budget.n: expected an array of strings");
  CHECK(complaint<int>("12").empty());
}

TEST_CASE("text is modest within its limits, whatever stands in its strings, and not one step beyond") {
  const std::pair<const char*, bool> rows[] = {
      {"[[[]]]", true},
      {"[[[[]]]]", false},
      {R"({"a": [{"b": 1}]})", true},
      {R"({"a": [{"b": []}]})", false},
      {R"(["[[[[", "\"[[[[", "{:::"])", true},
      {"]]]][[[", true},
      {"]]]][[[[", false},
      {R"({"a": 1, "b": {"c": 1, "d": 1}})", true},
      {R"({"a": 1, "b": {"c": 1, "d": 1, "e": 1}})", false},
      {R"([{"a": 1, "b": 1}, {"a": 1, "b": 1}])", true},
      {"[[/* [[[ */] // [[\n, []]", true},
      {"/* \" */ [[[[", false},
      {"// \"\n[[[[", false},
      {"[[[ /*", true},
      {"[[[ /", true},
      {"", true},
  };
  for (const auto& [text, is_modest] : rows) {
    INFO(text);
    CHECK(is_modest_json(text, 3, 2) == is_modest);
  }
}

TEST_CASE("JSON that nests deeper than any of ours is refused, comments or not") {
  const std::string deep(300, '['), shallow = std::string(200, '[') + std::string(200, ']');
  CHECK(parse_json(shallow, "a.json").is_array());
  for (const std::string& text : {deep, "/* \" */ " + deep, std::string(100'000, '[')})
    CHECK_THROWS_WITH(parse_json(text, "a.json"), "a.json: nests deeper than 256 levels");
}

TEST_CASE("a file that is no file, not there or unnameable ends as a wrong entry") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH(read_text(folder.path()), Catch::Contains("expected a file, found a folder"));
  CHECK_THROWS_WITH(read_text(folder.path() / "none"), Catch::Contains("there is no such file"));
  CHECK_THROWS_AS(read_text(folder.path() / std::string(300, 'x')), ConfigError);
}
