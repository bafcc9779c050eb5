// SPDX-License-Identifier: Apache-2.0
// Data sets: what a record holds, what a reward is, what splits keep together, what never gets out.
#include <fstream>
#include <numbers>
#include <sstream>

#include "archive/run_prune.h"
#include "engine/core/error.h"
#include "engine/search/recordings.h"
#include "tests/support/catch.h"
#include "tests/support/python_block.h"
#include "tests/unit/search/search_rig.h"
#include "tests/unit/tools/called_program.h"
#include "tools/dataset/kin_groups.h"
#include "tools/dataset/redaction.h"
#include "tools/dataset/step_reward.h"

using namespace kernelites;
using test::call;
using test::Called;
namespace fs = std::filesystem;

namespace {

std::vector<Json> records_of(const std::string& text) {
  std::vector<Json> records;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) records.push_back(Json::parse(line));
  return records;
}

StepGain gain(double low, double high) { return {.log_gain = (low + high) / 2, .low = low, .high = high}; }

/// What of the schema's vocabulary the program's own schema uses.
void check_against(const Json& schema, const Json& root, const Json& value, const std::string& where) {
  INFO(where);
  if (schema.contains("$ref"))
    return check_against(root.at("$defs").at(schema.at("$ref").get<std::string>().substr(8)), root, value,
                         where);
  if (schema.contains("oneOf")) {
    const bool is_null = value.is_null();
    return is_null ? void() : check_against(schema.at("oneOf").at(1), root, value, where);
  }
  if (schema.contains("const")) CHECK(value == schema.at("const"));
  const std::string type =
      schema.contains("type") && schema.at("type").is_string() ? schema.at("type").get<std::string>() : "";
  if (type == "string") CHECK(value.is_string());
  if (type == "integer") CHECK(value.is_number_integer());
  if (type == "number") CHECK(value.is_number());
  if (type == "boolean") CHECK(value.is_boolean());
  if (type == "array") REQUIRE(value.is_array());
  if (type == "array" && schema.contains("items"))
    for (const Json& item : value) check_against(schema.at("items"), root, item, where + "[]");
  if (type != "object") return;
  REQUIRE(value.is_object());
  for (const Json& name : schema.value("required", Json::array()))
    CHECK(value.contains(name.get<std::string>()));
  for (const auto& [name, member] : value.items()) {
    const bool is_named = schema.contains("properties") && schema.at("properties").contains(name);
    if (is_named)
      check_against(schema.at("properties").at(name), root, member, where + "." + name);
    else
      CHECK((!schema.contains("additionalProperties") || schema.at("additionalProperties") != false));
  }
}

}  // namespace

TEST_CASE("a reward pays what is proven and nothing for what may be chance") {
  const Verdict passed = Verdict::passed();
  CHECK(step_reward(nullptr, {}) == 0);
  for (const char* stage : {"plan", "compile", "screen"}) {
    const Verdict early = Verdict::failed(stage, "r", "m");
    CHECK(step_reward(&early, {}) == 0.1);
  }
  const Verdict late = Verdict::failed("check", "numerical_mismatch", "m");
  CHECK(step_reward(&late, gain(1, 2)) == 0.2);
  CHECK(step_reward(&passed, {}) == 0.4);
  CHECK(step_reward(&passed, gain(-0.01, 0.5)) == 0.5);
  CHECK(step_reward(&passed, gain(std::numbers::ln2 / 2, 1)) == Approx(0.75));
  CHECK(step_reward(&passed, gain(5, 6)) == 1.0);
  CHECK(step_reward(&passed, gain(-9, -std::numbers::ln2 / 10)) == Approx(0.45));
  CHECK(step_reward(&passed, gain(-9, -8)) == 0.4);
}

TEST_CASE("a run's records follow the schema, and the script of docs/dataset.md finds every reward again") {
  SearchRig rig;
  rig.config.operators = {{"refine", 0.7}, {"tune", 0.3}};
  rig.config.budget.candidates = 20;
  FakeEvaluator evaluator(false);
  FakeModel model;
  rig.run(evaluator, &model);
  const std::string file = (rig.folder.path() / "steps.jsonl").string();
  const Called result = call({"dataset", rig.folder.path().string(), "--out", file});
  REQUIRE(result.code == exit_done);
  CHECK_THAT(result.out, Catch::Contains("train") && Catch::Contains("proposed by a program"));
  std::ifstream stream(file);
  const std::string text((std::istreambuf_iterator<char>(stream)), {});
  const std::vector<Json> records = records_of(text);
  const Json schema = Json::parse(call({"dataset", "--schema"}).out);
  std::set<double> rewards;
  for (const Json& record : records) {
    check_against(schema, schema, record, "record");
    CHECK(record.at("prompt").size() >= 2);
    CHECK_FALSE(record.at("reply").get<std::string>().empty());
    rewards.insert(record.at("reward").get<double>());
  }
  CHECK(rewards.size() >= 4);  // rejected, failed to compile, slower, faster
  const PythonRun good = run_python_block("dataset.md", {file});
  CHECK(good.code == 0);
  CHECK(good.out == std::to_string(records.size()) + " steps, every reward agrees\n");

  std::string spoilt = text;
  const std::size_t at = spoilt.find("\"reward\":");
  spoilt.insert(at + 9, "1");
  std::ofstream(file) << spoilt;
  CHECK(run_python_block("dataset.md", {file}).code != 0);
}

TEST_CASE("what pruning took is neither a step nor a recorded answer") {
  SearchRig rig;
  rig.config.operators = {{"refine", 1}};
  rig.config.budget.candidates = 20;
  FakeEvaluator evaluator(false);
  FakeModel model;
  rig.run(evaluator, &model);
  const std::string run = rig.folder.path().string();
  const std::size_t before = records_of(call({"dataset", run}).out).size();
  const std::size_t recorded = recording_of(Archive::open_read_only(rig.folder.path()), true).size();
  const auto pruned = static_cast<std::size_t>(prune_run(rig.folder.path(), false).model_calls);
  REQUIRE(pruned > 0);
  const Called after = call({"dataset", run});
  const std::vector<Json> records = records_of(after.out);
  CHECK(records.size() < before);
  for (const Json& record : records) CHECK_FALSE(record.at("prompt").empty());
  CHECK_THAT(after.err, Catch::Contains("pruned"));
  CHECK(recording_of(Archive::open_read_only(rig.folder.path()), true).size() == recorded - pruned);
}

TEST_CASE("steps that two runs share are told once, and programs' steps on request") {
  SearchRig rig;
  FakeEvaluator evaluator;
  FakeModel model;
  rig.run(evaluator, &model);
  const std::string run = rig.folder.path().string();
  const std::size_t once = records_of(call({"dataset", run}).out).size();
  const Called twice = call({"dataset", run, run + "/"});
  CHECK(records_of(twice.out).size() == once);
  CHECK_THAT(twice.err, Catch::Contains(std::to_string(once) + " repeated"));
  const std::vector<Json> all = records_of(call({"dataset", run, "--all"}).out);
  CHECK(all.size() > once);
  CHECK(all.front().at("operator") == "seed");
  CHECK(all.front().at("parent").is_null());
}

TEST_CASE(
    "every kernel that an agent had evaluated is a step, with the conversation up to the call that it came "
    "from") {
  SearchRig rig;
  rig.config.operators = {{"agent", 1}};
  rig.config.in_flight = 1;
  rig.config.budget.candidates = 6;
  FakeEvaluator evaluator;
  FakeModel model;
  model.script = [&](const ModelRequest& request) {
    rig.clock.advance(std::chrono::seconds(1));
    const auto turn = std::stoi(request.id.substr(request.id.find('-') + 1));
    const std::string source = "// us: " + std::to_string(60 - 10 * turn) + "\n__global__ void k() {}\n";
    const Json arguments = turn < 3 ? Json{{"source", source}, {"note", "a try"}} : Json{{"candidate", "c3"}};
    ModelReply reply;
    reply.tool_calls = {{.id = "t", .name = turn < 3 ? "time" : "submit", .arguments = arguments.dump()}};
    return reply;
  };
  rig.run(evaluator, &model);
  std::vector<Json> records;
  for (Json& record : records_of(call({"dataset", rig.folder.path().string()}).out))
    if (record.at("variation") == 3 && record.at("is_inner") == true) records.push_back(std::move(record));
  REQUIRE(records.size() == 3);
  for (std::size_t i = 0; i < records.size(); ++i) {
    const std::string time = "// us: " + std::to_string(60 - 10 * i);
    CHECK_THAT(records[i].at("child").at("source").get<std::string>(), Catch::StartsWith(time));
    CHECK_THAT(records[i].at("tool_calls").dump(), Catch::Contains(time));
    CHECK(records[i].at("prompt").size() == 2 + 2 * i);
  }
}

TEST_CASE("no key reaches a data set, in whatever reply it stands") {
  SearchRig rig;
  rig.config.operators = {{"refine", 1}};
  rig.config.budget.candidates = 2;
  FakeEvaluator evaluator;
  FakeModel model;
  model.always =
      "SUMMARY: my key is sk-abcdefghijklmnopqrstuvwx\n```cuda\n// us: 50\n// hold_out_0_1\n__global__ void "
      "k() {}\n```\n";
  rig.run(evaluator, &model);
  const Called result = call({"dataset", rig.folder.path().string()});
  CHECK_THAT(result.out, Catch::Contains("[secret]") && Catch::Contains("[hidden]"));
  CHECK_THAT(result.out, !Catch::Contains("abcdefghijklmnop") && !Catch::Contains("hold_out_0_1"));
}

TEST_CASE("known keys go by value, others by their form, and words that only look like one stay") {
  const std::vector<std::string> keys = keys_named_in(
      Json::parse(
          R"([{"kind": "openai", "api_key_env": "MINE"}, {"kind": "command", "environment": ["agent_token", "AGENTS", "PATH"]}])"),
      [](const std::string& name) -> std::optional<std::string> {
        if (name == "MINE") return "my-own-secret";
        if (name == "agent_token") return "the-agent's";
        return name == "PATH" ? std::optional<std::string>("/usr/bin") : std::nullopt;
      });
  REQUIRE(keys == std::vector<std::string>{"my-own-secret", "the-agent's"});
  CHECK(redacted("x my-own-secret y", keys) == "x [secret] y");
  CHECK(redacted("Authorization: Bearer abc.def-ghi_jkl0123456789", {}) == "Authorization: [secret]");
  CHECK(redacted("a\n-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nb", {}) ==
        "a\n[secret]\nb");
  for (const char* text :
       {"a task-specific-tile-of-the-matrix-product", "sk-short", "Bearer of news", "hold_out ranges"})
    CHECK(redacted(text, {}) == text);
}

TEST_CASE("parents and duplicates tie a family together, what was shown only if so wished") {
  const auto groups_of = [](bool joins_shown) {
    KinGroups groups(joins_shown);
    groups.add({.id = "b", .same = {"text 1"}, .parents = {"a"}, .shown = {}});
    groups.add({.id = "d", .same = {"text 2"}, .parents = {"c"}, .shown = {"a"}});
    groups.add({.id = "f", .same = {"text 1"}, .parents = {"e"}, .shown = {}});
    return groups;
  };
  const KinGroups lineage = groups_of(false), strict = groups_of(true);
  CHECK(lineage.group_of("f") == "a");  // through the equal text of b
  CHECK(lineage.group_of("d") == "c");
  CHECK(strict.group_of("d") == "a");
}

TEST_CASE("splits never part a family, and get near their shares") {
  const std::vector<SplitShare> shares = parse_splits("train=0.75,test=0.25");
  std::map<std::string, std::size_t> sizes;
  for (int i = 0; i < 40; ++i) sizes["family" + std::to_string(i)] = static_cast<std::size_t>(1 + i % 7);
  std::map<std::string, double> total;
  for (const auto& [family, split] : assign_splits(sizes, shares))
    total[split] += static_cast<double>(sizes.at(family));
  CHECK(total["test"] / (total["train"] + total["test"]) == Approx(0.25).margin(0.02));
  CHECK(assign_splits({{"only", 9}}, shares).at("only") == "train");
  for (const char* wrong :
       {"", "train", "train=1,train=0", "a=0.5,b=0.4", "a=0.5,a=0.5", "../x=1", "a=1e", "a=-1,b=2"})
    CHECK_THROWS_AS(parse_splits(wrong), ConfigError);
}
