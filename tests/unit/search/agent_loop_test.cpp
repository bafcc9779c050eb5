// SPDX-License-Identifier: Apache-2.0
// Agents in the loop: inner evaluations are candidates of the run, and however it is killed it comes out the same.
#include <unistd.h>

#include "archive/ledger.h"
#include "engine/search/loop.h"
#include "tests/support/catch.h"
#include "tests/unit/search/search_rig.h"

using namespace kernelites;

namespace {

ModelReply tool(const std::string& name, const Json& arguments) {
  ModelReply reply;
  reply.model = "fake-agent";
  reply.tool_calls = {{.id = "t", .name = name, .arguments = arguments.dump()}};
  reply.finish = "tool_calls";
  reply.cost = {.input_tokens = 1000, .output_tokens = 100, .reasoning_tokens = 40, .usd = 0.01};
  return reply;
}

/// Compiles, checks, times a slow and a fast kernel, and submits the fast one; another operator's call gets a file.
ModelReply scripted(const ModelRequest& request) {
  ModelReply reply;
  reply.model = "fake-1";
  reply.cost = {.input_tokens = 1000, .output_tokens = 500, .usd = 0.01};
  if (request.tools.empty()) {
    reply.text = fake_answer(request.id);
    return reply;
  }
  const std::size_t dash = request.id.find('-');
  const std::string ordinal = request.id.substr(0, dash);
  const auto kernel = [&](int us, const std::string& more = "") {
    return Json{{"source", "// cell: cp_async fma split_kv\n// us: " + std::to_string(us) + "\n" + more +
                               "__global__ void k" + ordinal + "() {}\n"},
                {"note", "try " + std::to_string(us)}};
  };
  switch (std::stoi(request.id.substr(dash + 1))) {
    case 0:
      return tool("compile", kernel(70, "// fails: check\n"));
    case 1:
      return tool("check", {{"candidate", "c1"}});
    case 2:
      return tool("check", kernel(60));
    case 3:
      return tool("time", {{"candidate", "c2"}});
    case 4:
      return tool("time", kernel(50));
    case 5:
      return tool("compile", kernel(40));
    default:
      return tool("submit", {{"candidate", "c3"}});
  }
}

struct AgentRig : SearchRig {
  AgentRig() {
    config.operators = {{"agent", 1}};
    config.in_flight = 3;
    config.budget.candidates = 9;
    model.script = scripted;
  }
  FakeModel model;
};

}  // namespace

TEST_CASE(
    "every inner evaluation is a candidate of its variation, with its parent, and counts for the budget") {
  AgentRig rig;
  rig.config.in_flight = 1;
  rig.config.budget.candidates = 6;
  FakeEvaluator evaluator;
  const LoopEnd end = rig.run(evaluator, &rig.model);
  CHECK(end.reason == StopReason::budget);
  Archive archive = rig.open();
  CHECK(archive.spent().candidates <= 6 + 2);
  CHECK(archive.unfinished_candidates().empty());
  const auto variation = archive.variation(3);
  REQUIRE(variation);
  CHECK(variation->operator_name == "agent");
  CHECK(variation->state == "submitted");
  CHECK(variation->prompt_version == rig.prompts.version("agent"));
  std::vector<std::string> outcomes;
  for (const CandidateRecord& record : archive.candidates()) {
    if (record.variation != 3) continue;
    CHECK(record.operator_name == "agent");
    CHECK(record.parents == variation->parents);
    CHECK(record.told_unix_s > 0);
    outcomes.push_back(record.outcome);
  }
  // Failed its check, timed and told at once, timed and submitted, compiled only.
  CHECK(outcomes == std::vector<std::string>{"failed", "added", "improved", "unfinished"});
  CHECK(variation->decision.at("submitted") == 6);
}

TEST_CASE("an agent's calls keep tools, tool calls and results, and read back as they were sent") {
  AgentRig rig;
  rig.config.budget.candidates = 5;
  FakeEvaluator evaluator;
  rig.run(evaluator, &rig.model);
  Archive archive = rig.open();
  const auto calls = archive.model_calls(3);
  REQUIRE(calls.size() == 7);
  const ModelRequest request = request_from(calls[1]);
  CHECK(request.tools.size() == 9);
  REQUIRE(request.messages.size() == 4);
  CHECK(request.messages[2].tool_calls.at(0).name == "compile");
  CHECK(request.messages[3].tool_call_id == "t");
  CHECK(prompt_digest(request) == calls[1].prompt_digest);
  CHECK(reply_from(calls[6]).tool_calls.at(0).name == "submit");
  CHECK(calls[1].tokens_estimated > 1000);
}

TEST_CASE("the compile step evaluates nothing beyond the compile, the time step duels the parent too") {
  AgentRig rig;
  rig.config.in_flight = 1;
  rig.config.budget.candidates = 5;
  FakeEvaluator evaluator;
  rig.run(evaluator, &rig.model);
  Archive archive = rig.open();
  int compiles = 0;
  for (const Request& request : evaluator.requests)
    compiles += request.examine && request.examine->last_stage == "compile" ? 1 : 0;
  CHECK(compiles >= 2);
  const auto timed = archive.evaluations(5);
  REQUIRE(timed.size() >= 2);
  const Json arms = timed.back().request.at("arms");
  CHECK(std::find(arms.begin(), arms.end(), archive.variation(3)->parents.at(0)) != arms.end());
}

TEST_CASE("a run of agents that is killed at any event resumes to the same dump") {
  AgentRig whole;
  whole.config.operators = {{"agent", 0.6}, {"refine", 0.2}, {"tune", 0.2}};
  whole.config.is_deterministic = true;
  FakeEvaluator evaluator(true, 1);
  whole.run(evaluator, &whole.model);
  const std::string expected = whole.dump_text();
  REQUIRE(expected.find("\"agent\"") != std::string::npos);
  const int events = static_cast<int>(whole.sink.events.size());
  REQUIRE(events > 40);
  for (int kill = 1; kill <= events; kill += 7) {
    AgentRig rig;
    rig.config = whole.config;
    rig.sink.throw_at = kill;
    {
      FakeEvaluator first(true, 1);
      CHECK_THROWS_AS(rig.run(first, &rig.model), RecordingSink::Kill);
    }
    FakeEvaluator second(true, 7, 1);
    FakeModel second_model(7);
    second_model.script = scripted;
    rig.run(second, &second_model);
    INFO("killed at event " << kill << " of " << events);
    REQUIRE((rig.dump_text() == expected));
  }
}

TEST_CASE("arms and candidates tell what they cost") {
  AgentRig rig;
  rig.config.operators = {{"agent", 0.5}, {"tune", 0.5}};
  FakeEvaluator evaluator;
  rig.run(evaluator, &rig.model);
  Archive archive = rig.open();
  const Spent spent = archive.spent();
  CallSums sums;
  std::int64_t candidates = 0;
  double device_s = 0;
  for (const ArmLedger& arm : archive.arms()) {
    sums.calls += arm.calls.calls;
    sums.usd += arm.calls.usd;
    sums.reasoning_tokens += arm.calls.reasoning_tokens;
    candidates += arm.candidates;
    device_s += arm.device_s;
    if (arm.operator_name == "agent") {
      CHECK(arm.endpoint == "fake");
      CHECK(arm.elites >= 1);
    }
  }
  CHECK(sums.calls == spent.model_calls);
  CHECK(sums.usd == Approx(spent.usd));
  CHECK(sums.reasoning_tokens == spent.reasoning_tokens);
  CHECK(spent.reasoning_tokens > 0);
  CHECK(candidates == spent.candidates);
  CHECK(device_s == Approx(spent.device_s));
  for (const CandidateRecord& record : archive.candidates())
    if (record.operator_name == "agent") CHECK(archive.cost_of(record.ordinal).calls.calls > 0);
}

TEST_CASE("a failed candidate is repaired from its own source and verdict, once") {
  SearchRig rig;
  rig.config.operators = {{"refine", 0.5}, {"repair", 0.5}};
  rig.config.budget.candidates = 12;
  FakeEvaluator evaluator;
  FakeModel model;
  int repairs = 0;
  model.script = [&](const ModelRequest& request) {
    ModelReply reply;
    const bool is_repair = request.messages.back().text.find("# Make this kernel pass") != std::string::npos;
    if (is_repair) {
      ++repairs;
      CHECK(request.messages.back().text.find("it was told to fail") != std::string::npos);
    }
    reply.text = "```cuda\n// us: " + std::to_string(30 + request.ordinal) + "\n" +
                 (is_repair ? "" : "// fails: check\n") + "__global__ void k() {}\n```\n";
    return reply;
  };
  rig.run(evaluator, &model);
  Archive archive = rig.open();
  CHECK(repairs > 0);
  std::set<std::string> mended;
  for (const CandidateRecord& record : archive.candidates())
    if (record.operator_name == "repair") CHECK(mended.insert(record.parents.at(0)).second);
}

TEST_CASE("after the user's wish to stop no further model call is made, in the middle of an episode too") {
  AgentRig rig;
  rig.config.in_flight = 1;
  rig.config.stop_grace_s = 1000;
  FakeEvaluator evaluator;
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  rig.model.script = [&](const ModelRequest& request) {
    if (rig.model.calls == 3) REQUIRE(write(ends[1], "x", 1) == 1);
    return scripted(request);
  };
  const LoopEnd end = rig.run(evaluator, &rig.model, ends[0]);
  CHECK(end.reason == StopReason::interrupted);
  const int calls = rig.model.calls;
  CHECK(calls <= 4);
  {
    Archive archive = rig.open();
    CHECK(archive.open_variations().size() == 1);
    CHECK(archive.open_model_calls().empty());
  }
  close(ends[0]);
  close(ends[1]);
  rig.model.script = scripted;
  rig.run(evaluator, &rig.model);
  Archive archive = rig.open();
  CHECK(archive.model_calls(3).size() == 7);
}

TEST_CASE("no model call is made once a budget of time is used up") {
  AgentRig rig;
  rig.config.in_flight = 1;
  rig.config.budget = {.device_s =
                           2.6};  // the seeds' two examinations and duels, and a little of the episode
  FakeEvaluator evaluator;
  const LoopEnd end = rig.run(evaluator, &rig.model);
  CHECK(end.reason == StopReason::budget);
  CHECK(end.detail == "device_s");
  Archive archive = rig.open();
  CHECK(archive.open_model_calls().empty());
  CHECK(archive.spent().model_calls < 7);
  CHECK(archive.spent().model_calls > 0);
}

TEST_CASE(
    "a kernel that an agent left unfinished is taken up by whoever proposes it, and its line ends at a "
    "seed") {
  AgentRig rig;
  rig.config.in_flight = 1;
  rig.config.budget.candidates = 6;
  FakeEvaluator evaluator;
  rig.run(evaluator, &rig.model);
  std::string source;
  std::uint64_t ordinal = 0;
  {
    Archive archive = rig.open();
    for (const CandidateRecord& record : archive.candidates())
      if (record.outcome == "unfinished") {
        source = record.candidate.source;
        ordinal = record.ordinal;
      }
  }
  REQUIRE(ordinal > 0);
  rig.config.operators = {{"refine", 1}};
  rig.config.budget.candidates = 8;
  bool is_first = true;
  rig.model.script = [&](const ModelRequest& request) {
    ModelReply reply;
    reply.text = std::exchange(is_first, false) ? "```cuda\n" + source + "```\n" : fake_answer(request.id);
    return reply;
  };
  rig.run(evaluator, &rig.model);
  Archive archive = rig.open();
  const auto record = archive.candidate(ordinal);
  REQUIRE(record);
  CHECK(record->outcome != "unfinished");
  CHECK(record->operator_name == "refine");
  CHECK(archive.variation(record->variation)->state == "submitted");
  CHECK(archive.evaluated(ordinal)->duel.has_value());
  CHECK(archive.lineage(ordinal).back().operator_name == "seed");
}

TEST_CASE(
    "several kernels of one reply are evaluated together, and a `time` tells what its check has cost too") {
  AgentRig rig;
  rig.config.in_flight = 1;
  rig.config.barren_max = 1;
  rig.model.script = [&](const ModelRequest& request) {
    ModelReply reply = tool("submit", {{"candidate", request.ordinal == 3 ? "c2" : "none"}});
    if (request.id == "3-0") {
      reply = tool("time", {{"source", "// us: 60\n__global__ void a() {}\n"}});
      reply.tool_calls.push_back(
          {.id = "u", .name = "time", .arguments = R"({"source":"// us: 50\n__global__ void b() {}\n"})"});
    }
    return reply;
  };
  FakeEvaluator evaluator;
  rig.run(evaluator, &rig.model);
  Archive archive = rig.open();
  for (const int position : {0, 1}) {
    const auto result = archive.inside_result(3, position);
    REQUIRE(result);
    CHECK(result->step == "time");
    CHECK(result->result.at("device_s").get<double>() >= 0.5);  // an examination and a duel of 0.25 s each
  }
  CHECK(archive.variation(3)->decision.at("submitted") == 5);
}

TEST_CASE("an episode that is killed goes on where it was, on a device that repeats nothing") {
  for (int kill = 20; kill < 90; kill += 9) {
    AgentRig rig;
    rig.config.in_flight = 1;
    rig.config.budget.candidates = 6;
    rig.sink.throw_at = kill;
    {
      FakeEvaluator first(false);  // a real device: would-be elites are examined once more
      try {
        rig.run(first, &rig.model);
      } catch (const RecordingSink::Kill&) {
      }
    }
    rig.sink.throw_at = 0;
    FakeEvaluator second(false);
    rig.run(second, &rig.model);
    INFO("killed at event " << kill);
    CHECK(rig.sink.count("incident") == 0);  // it heard the same, and said the same
    Archive archive = rig.open();
    CHECK(archive.model_calls(3).size() == 7);
    CHECK(archive.variation(3)->decision.at("submitted") == 6);
  }
}

TEST_CASE("a run that is told so ends when only replies can bring it on") {
  SearchRig rig;
  rig.config.ends_when_waiting = true;
  FakeEvaluator evaluator;
  FakeModel model;
  model.is_silent = true;
  CHECK(rig.run(evaluator, &model).reason == StopReason::waiting);
}
