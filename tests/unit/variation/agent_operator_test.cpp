// SPDX-License-Identifier: Apache-2.0
// An agent's episode step by step: tool calls in, actions out, within limits, whatever a model writes.
#include "engine/variation/agent_operator.h"

#include <filesystem>

#include "engine/core/rng.h"
#include "tests/support/catch.h"

using namespace kernelites;
using Catch::Contains;

namespace {

const PromptLibrary& prompts() {
  static const PromptLibrary library =
      PromptLibrary::load(std::filesystem::path(KERNELITES_SOURCE_DIR) / "prompts");
  return library;
}

struct Episode {
  Task task;
  VariationInput input{.task = task};
  std::unique_ptr<AgentOperator> agent;

  Episode() {
    task.name = "rowsum";
    input.device.architecture = "sm_90a";
    input.parent.candidate = {"// tune: BN = 16 | 32\n__global__ void parent() {}\n", {{"BN", 16}}};
    input.parent.verdict = Verdict::passed();
    input.parent.speedup = 1.0;
  }
  Action start() {
    agent = std::make_unique<AgentOperator>(input, prompts());
    return keep(agent->next(Started{}));
  }
  /// The model calls these tools: {name, arguments}.
  Action reply(const std::vector<std::pair<std::string, std::string>>& calls, std::int64_t tokens = 100) {
    ModelReply reply;
    int number = 0;
    for (const auto& [name, arguments] : calls)
      reply.tool_calls.push_back(
          {.id = "t" + std::to_string(number++), .name = name, .arguments = arguments});
    reply.finish = "tool_calls";
    reply.cost.input_tokens = tokens;
    return keep(agent->next(ModelAnswered{reply}));
  }
  Action text(const std::string& words) {
    ModelReply reply;
    reply.text = words;
    return keep(agent->next(ModelAnswered{reply}));
  }
  /// All evaluations that are wanted end like this.
  Action evaluated(bool is_passed, double speedup = 0) {
    InsideResult result;
    result.specimen.verdict =
        is_passed ? Verdict::passed() : Verdict::failed("check", "wrong_values", "rows of y differ");
    result.specimen.speedup = speedup;
    result.device_s = 10;
    return keep(agent->next(Evaluated{std::vector<InsideResult>(wishes, result)}));
  }
  Action keep(Action action) {
    const auto* wanted = std::get_if<EvaluateInside>(&action);
    wishes = wanted != nullptr ? wanted->wishes.size() : 0;
    return action;
  }
  std::size_t wishes = 0;
};

InsideWish wish(const Action& action) { return std::get<EvaluateInside>(action).wishes.at(0); }

std::string last_text(const Action& action) {
  return std::get<CallModel>(action).request.messages.back().text;
}

const std::string k_file = R"({"source": "__global__ void child() {}\n", "note": "new loop"})";

}  // namespace

TEST_CASE("the opening offers every tool with a description and a schema that is JSON") {
  Episode episode;
  const Action action = episode.start();
  const ModelRequest& request = std::get<CallModel>(action).request;
  CHECK(request.tools.size() == agent_tools().size());
  for (const ToolSpec& tool : request.tools) {
    CHECK(tool.description.size() > 20);
    CHECK(Json::parse(tool.parameters).at("type") == "object");
  }
  CHECK_THAT(request.messages.at(1).text, Contains("void parent()") && Contains("[left: 24 of 24 steps"));
}

TEST_CASE("a kernel is checked, timed and submitted under its label") {
  Episode episode;
  episode.start();
  const auto check = wish(episode.reply({{"check", k_file}}));
  CHECK(check.step == InsideStep::check);
  CHECK(check.summary == "new loop");
  CHECK_THAT(last_text(episode.evaluated(true)),
             Contains("c1: passed every check") && Contains("[left: 23 of 24"));
  const auto time = wish(episode.reply({{"time", R"({"candidate": "c1"})"}}));
  CHECK(time.step == InsideStep::time);
  CHECK(time.candidate == check.candidate);
  CHECK_THAT(last_text(episode.evaluated(true, 1.25)), Contains("1.250x the parent's"));
  const auto submitted = std::get<Submit>(episode.reply({{"submit", R"({"candidate": "c1"})"}}));
  CHECK(submitted.proposal.candidate == check.candidate);
  CHECK(submitted.proposal.summary == "new loop");
}

TEST_CASE("edits and tunables change the kernel that they name as base") {
  Episode episode;
  episode.start();
  auto wanted = wish(episode.reply(
      {{"compile",
        R"({"edits": [{"search": "__global__ void parent() {}", "replace": "__global__ void two() {}"}]})"}}));
  CHECK(wanted.step == InsideStep::compile);
  CHECK_THAT(wanted.candidate.source, Contains("void two()"));
  episode.evaluated(true);
  wanted = wish(episode.reply({{"compile", R"({"base": "c1", "tuning": {"BN": 32}})"}}));
  CHECK_THAT(wanted.candidate.source, Contains("void two()"));
  CHECK(wanted.candidate.tuning.at("BN") == 32);
}

TEST_CASE("what cannot be carried out is answered in words and costs no evaluation") {
  const std::pair<const char*, const char*> rows[] = {
      {R"({"source": "int x;"})", "no_kernel"},
      {R"({"candidate": "c7"})", "no candidate \"c7\""},
      {R"({"edits": [{"search": "zebra", "replace": "x"}]})", "edit_does_not_apply"},
      {R"({"tuning": {"BN": 17}})", "not among the declared values"},
      {R"({"tuning": {"XX": 1}})", "declares no tunable"},
      {R"({"source": "x", "candidate": "c1"})", "exactly one kernel"},
      {R"({})", "exactly one kernel"},
      {R"({"path": "/etc/passwd"})", "no argument \"path\""},
      {R"([1])", "one JSON object"},
      {R"({"source": 7})", "must be a string"},
      {R"({"candidate": "c1", "tuning": {"BN": 9223372036854775808}})", "\"BN\" must be a whole number"},
      {"{\"source\"", "one JSON object"},
  };
  for (const auto& [arguments, words] : rows) {
    Episode episode;
    episode.start();
    INFO(arguments);
    CHECK_THAT(last_text(episode.reply({{"check", arguments}})), Contains("error") && Contains(words));
  }
  Episode episode;
  episode.start();
  CHECK_THAT(last_text(episode.reply({{"shell", "{}"}})), Contains("no tool \"shell\""));
  CHECK_THAT(last_text(episode.reply({{"read_playbook", R"({"tier": 18446744073709551615})"}})),
             Contains("\"tier\" must be a whole number"));
}

TEST_CASE("on a real device a profile has the counters read, once") {
  Episode episode;
  episode.input.device.is_virtual = false;
  episode.start();
  episode.reply({{"check", k_file}});
  episode.evaluated(true);
  const auto wanted = wish(episode.reply({{"profile", R"({"candidate": "c1"})"}}));
  CHECK(wanted.step == InsideStep::profile);
  CHECK_THAT(last_text(episode.evaluated(true)), Contains("Hardware counters have not been read"));
  CHECK(std::holds_alternative<CallModel>(episode.reply({{"profile", R"({"candidate": "c1"})"}})));
}

TEST_CASE("on the virtual GPU a profile costs no evaluation") {
  Episode episode;
  episode.input.device.is_virtual = true;
  episode.start();
  episode.reply({{"check", k_file}});
  episode.evaluated(true);
  CHECK_THAT(last_text(episode.reply({{"profile", R"({"candidate": "c1"})"}})),
             Contains("virtual GPU has no"));
}

TEST_CASE("several calls of one reply are answered in their order") {
  Episode episode;
  episode.start();
  CHECK(std::holds_alternative<EvaluateInside>(
      episode.reply({{"read_parent", "{}"}, {"check", k_file}, {"read_lineage", ""}})));
  const Action action = episode.evaluated(false);
  const auto& messages = std::get<CallModel>(action).request.messages;
  REQUIRE(messages.size() == 6);
  CHECK(messages[2].tool_calls.size() == 3);
  for (int i : {0, 1, 2}) CHECK(messages[3 + i].tool_call_id == "t" + std::to_string(i));
  CHECK_THAT(messages[4].text, Contains("wrong_values"));
  CHECK_THAT(messages[5].text, Contains("is a seed"));
}

TEST_CASE("evaluations of one reply are under way together, and what depends on them waits") {
  Episode episode;
  episode.input.device.is_virtual = true;
  episode.start();
  const std::string other = R"({"source": "__global__ void other() {}\n"})";
  const Action action = episode.reply({{"check", k_file},
                                       {"read_lineage", ""},
                                       {"compile", other},
                                       {"time", R"({"candidate": "c1"})"},
                                       {"profile", R"({"candidate": "c2"})"}});
  const auto& wishes = std::get<EvaluateInside>(action).wishes;
  REQUIRE(wishes.size() == 2);
  CHECK(wishes[0].step == InsideStep::check);
  CHECK(wishes[1].step == InsideStep::compile);
  CHECK(wish(episode.evaluated(true)).step == InsideStep::time);
  const Action last = episode.evaluated(true, 1.5);
  const auto& messages = std::get<CallModel>(last).request.messages;
  REQUIRE(messages.size() == 8);
  CHECK_THAT(messages[3].text, Contains("c1: passed every check"));
  CHECK_THAT(messages[5].text, Contains("c2: compiles"));
  CHECK_THAT(messages[6].text, Contains("1.500x"));
  CHECK_THAT(messages[7].text, Contains("Compiled kernels"));
}

TEST_CASE("calls beyond eight are no part of the conversation") {
  Episode episode;
  episode.start();
  const Action action = episode.reply({100, {"read_parent", "{}"}});
  const auto& messages = std::get<CallModel>(action).request.messages;
  CHECK(messages.size() == 2 + 1 + k_tool_calls_max);
  CHECK(messages[2].tool_calls.size() == k_tool_calls_max);
  CHECK_THAT(messages.back().text, Contains("92 more calls"));
}

TEST_CASE("the closing reply can submit and nothing else") {
  Episode episode;
  episode.input.agent.steps = 2;
  episode.start();
  CHECK(std::get<CallModel>(episode.reply({{"read_parent", "{}"}})).request.tool_choice == "submit");
  const Action end = episode.reply({{"time", k_file}});
  CHECK(std::get<GiveUp>(end).rejection.reason == "agent_budget");
}

TEST_CASE("arguments that are nested too deeply, or have too many members, are refused in words") {
  const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  std::string wide = "{";
  for (int i = 0; i < 50'000; ++i) wide += "\"" + std::to_string(i) + "\":1,";
  for (const std::string& arguments : {"{\"edits\":" + deep + "}", wide + "\"x\":1}"}) {
    Episode episode;
    episode.start();
    CHECK_THAT(last_text(episode.reply({{"check", arguments}})), Contains("one JSON object"));
  }
}

TEST_CASE("a kernel that failed cannot be submitted, and is not evaluated again") {
  Episode episode;
  episode.start();
  episode.reply({{"check", k_file}});
  episode.evaluated(false);
  CHECK_THAT(last_text(episode.reply({{"submit", R"({"candidate": "c1"})"}})), Contains("c1 failed"));
  CHECK_THAT(last_text(episode.reply({{"time", k_file}})), Contains("wrong_values"));
  CHECK_THAT(last_text(episode.reply({{"submit", R"({"candidate": "parent"})"}})),
             Contains("parent unchanged"));
}

TEST_CASE("the last step offers submit alone, and the fastest kernel goes in if that is not used") {
  Episode episode;
  episode.input.agent.steps = 3;
  episode.start();
  episode.reply({{"time", k_file}});
  episode.evaluated(true, 1.5);
  const Action closing = episode.reply({{"read_parent", "{}"}});
  const ModelRequest& request = std::get<CallModel>(closing).request;
  REQUIRE(request.tools.size() == 1);
  CHECK(request.tool_choice == "submit");
  CHECK_THAT(last_text(closing), Contains("used up"));
  const Action end = episode.text("I think we are done.");
  CHECK_THAT(std::get<Submit>(end).proposal.candidate.source, Contains("child"));
}

TEST_CASE("an episode without a kernel that is worth it ends with a reason") {
  Episode episode;
  episode.start();
  episode.reply({{"time", k_file}});
  episode.evaluated(true, 0.9);
  const Action end = episode.reply({{"submit", R"({"candidate": "none", "note": "memory bound"})"}});
  CHECK(std::get<GiveUp>(end).rejection.reason == "agent_gave_up");
  CHECK(std::get<GiveUp>(end).rejection.message == "memory bound");
}

TEST_CASE("tokens, device time and evaluations have limits of their own") {
  Episode tokens;
  tokens.input.agent.tokens = 50'000;
  tokens.start();
  CHECK(std::get<CallModel>(tokens.reply({{"read_parent", "{}"}}, 45'000)).request.tool_choice == "submit");
  Episode device;
  device.input.agent.device_s = 5;
  device.start();
  device.reply({{"compile", k_file}, {"check", R"({"tuning": {"BN": 32}})"}});
  const Action closing = device.evaluated(true);
  CHECK(std::get<CallModel>(closing).request.tool_choice == "submit");
  CHECK(std::get<CallModel>(closing).request.output_tokens_max == k_agent_closing_tokens);
  Episode candidates;
  candidates.input.agent.candidates = 1;
  candidates.start();
  candidates.reply({{"check", k_file}});
  candidates.evaluated(true);
  CHECK_THAT(last_text(candidates.reply({{"check", R"({"tuning": {"BN": 32}})"}})),
             Contains("evaluations of this"));
  CHECK(wish(candidates.reply({{"time", R"({"candidate": "c1"})"}})).step == InsideStep::time);
}

TEST_CASE("a model that writes instead of calling is reminded once; a file in its words is a submission") {
  Episode episode;
  episode.start();
  CHECK_THAT(last_text(episode.text("Let me think.")), Contains("called no tool"));
  CHECK(std::get<GiveUp>(episode.text("Still thinking.")).rejection.reason == "agent_stopped");
  Episode writes;
  writes.start();
  CHECK(std::holds_alternative<Submit>(writes.text("```cuda\n__global__ void k() {}\n```\n")));
}

TEST_CASE("a conversation beyond the limit loses old results and sources and keeps the newest") {
  Episode episode;
  episode.input.prompt_tokens_max = 9'000;
  episode.start();
  const std::string big = R"({"source": "__global__ void k() {}\n//)" + std::string(8000, 'x') + R"("})";
  Action action = episode.reply({{"compile", big}});
  for (int round = 0; round < 6; ++round) {
    action = episode.evaluated(true);
    action = episode.reply({{"compile", R"({"source": "__global__ void k() {}\n//)" +
                                            std::string(6000 + round, 'y') + R"("})"}});
  }
  action = episode.evaluated(true);
  const CallModel& call = std::get<CallModel>(action);
  CHECK(estimated_tokens(call.request) < 16'000);
  REQUIRE_FALSE(call.cuts.empty());
  CHECK(call.cuts.back().section == "tool_results");
  CHECK_THAT(call.request.messages.at(1).text, Contains("void parent()"));
}

TEST_CASE("the playbook lists its tiers and gives the one asked for, its own architecture first") {
  Episode episode;
  episode.start();
  const std::string list = last_text(episode.reply({{"read_playbook", "{}"}}));
  for (int tier = 1; tier <= 6; ++tier)
    CHECK_THAT(list, Contains("tier " + std::to_string(tier) + " (sm_90)"));
  CHECK_THAT(last_text(episode.reply({{"read_playbook", R"({"tier": 5})"}})), Contains("wgmma"));
  Episode older;
  older.input.device.architecture = "sm_80";
  older.start();
  CHECK_THAT(last_text(older.reply({{"read_playbook", "{}"}})), !Contains("sm_90"));
}

TEST_CASE("lessons are asked for by task and architecture and told with their counts") {
  Episode episode;
  LessonQuery asked;
  episode.input.lessons = [&](const LessonQuery& query) {
    asked = query;
    return std::vector<Lesson>{
        {.technique = "split_kv", .state = "few blocks", .gain_median = 1.2, .helped = 3, .tried = 4}};
  };
  episode.start();
  CHECK(asked.task == "rowsum");
  CHECK(asked.architecture == "sm_90");
  CHECK_THAT(last_text(episode.reply({{"read_lessons", "{}"}})), Contains("1.200x") && Contains("3 of 4"));
}

TEST_CASE("whatever a model calls, an episode ends within its steps") {
  Rng rng(7);
  const char* arguments[] = {"",
                             "{}",
                             "{\"source\":\"__global__ void k() {}\"}",
                             "{\"candidate\":\"c1\"}",
                             "[[[[",
                             "{\"tier\":9999999999999}",
                             "{\"edits\":\"<<<<<<< SEARCH\\n__global__ void parent() "
                             "{}\\n=======\\n__global__ x\\n>>>>>>> REPLACE\\n\"}",
                             "{\"candidate\":\"parent\"}",
                             "{\"tuning\":{\"BN\":32}}",
                             "{\"source\":\"__global__ \\u0000\"}",
                             "null"};
  for (int round = 0; round < 300; ++round) {
    Episode episode;
    episode.input.agent.steps = 2 + static_cast<int>(rng.below(10));
    Action action = episode.start();
    int calls = 1;
    for (;;) {
      if (std::holds_alternative<CallModel>(action)) {
        REQUIRE(calls++ <= episode.input.agent.steps);
        std::vector<std::pair<std::string, std::string>> wanted;
        for (std::uint64_t i = rng.below(12); i > 0; --i) {
          const std::string name = rng.below(8) == 0
                                       ? "\x1b[2J"
                                       : std::string(agent_tools()[rng.below(agent_tools().size())].name);
          wanted.emplace_back(name, arguments[rng.below(std::size(arguments))]);
        }
        action = wanted.empty() ? episode.text("words") : episode.reply(wanted);
      } else if (std::holds_alternative<EvaluateInside>(action)) {
        action = episode.evaluated(rng.below(2) == 0, static_cast<double>(rng.below(3)));
      } else {
        break;
      }
    }
  }
}
