// SPDX-License-Identifier: Apache-2.0
// What a model is told, and how many chances it gets.
#include "engine/variation/prompt_operator.h"

#include <filesystem>

#include "engine/variation/operator_prompt.h"
#include "engine/variation/operator_table.h"
#include "engine/variation/prompt_values.h"
#include "tests/support/catch.h"

using namespace kernelites;
using Catch::Contains;

namespace {

Task sample_task() {
  Task task;
  task.name = "rowsum";
  task.title = "Row sums";
  task.formula = "y[r] = sum x[r][c]";
  task.dims = {{.name = "rows"}, {.name = "cols"}};
  task.tensors = {{.name = "x", .dtype = Dtype::bf16, .shape = {"rows", "cols"}, .role = Role::input},
                  {.name = "y", .dtype = Dtype::f32, .shape = {"rows"}, .role = Role::output}};
  task.bench = {{.name = "llama", .dims = {{"rows", 512}, {"cols", 4096}}}};
  task.hold_out = {{{{"rows", {777, 888}}}}};
  task.roofline = {.flops = "rows*cols", .bytes = "2*rows*cols", .exponentials = "0"};
  return task;
}

VariationInput sample_input(const Task& task) {
  VariationInput input{.task = task};
  input.device = {.kind = "Test GPU", .architecture = "sm_90a", .memory_gb_per_s = 2000};
  input.parent.candidate = {"__global__ void parent() {}\n", {}};
  input.parent.verdict = Verdict::passed();
  input.parent.speedup = 1.25;
  input.parent.examination.descriptors = {{"movement", "direct"}};
  Duel duel;
  duel.arms = {"candidate"};
  duel.timing["llama"] = {{.time_us_median = 4.0, .time_us_p10 = 3.9, .time_us_p90 = 4.2, .samples = 30}};
  input.parent.duel = duel;
  Specimen inspiration;
  inspiration.candidate = {"__global__ void other_kind() {}\n", {}};
  input.inspirations = {inspiration};
  Specimen failure;
  failure.operator_name = "refine";
  failure.verdict = Verdict::failed("compile", "compile_error", "identifier \"foo\" is undefined");
  failure.verdict.diagnostics = {{"compile_error", "identifier \"foo\" is undefined", 12}};
  input.failures = {failure};
  input.rejections = {"edit 1: its SEARCH text is empty"};
  return input;
}

PromptLibrary library() {
  return PromptLibrary::load(std::filesystem::path(KERNELITES_SOURCE_DIR) / "prompts");
}

/// All that the first call of `name` says.
std::string prompt_of(const std::string& name, const VariationInput& input) {
  std::string text;
  for (const ChatMessage& message : render_operator(name, input, library()).messages) text += message.text;
  return text;
}

ModelReply answer(const std::string& text) {
  ModelReply reply;
  reply.text = text;
  return reply;
}

}  // namespace

TEST_CASE(
    "the prompt holds task, device, contract, parent, timing, inspirations, feedback and reply format") {
  const Task task = sample_task();
  const std::string prompt = prompt_of("refine", sample_input(task));
  for (const char* part : {"y[r] = sum x[r][c]", "rows=512, cols=4096", "Test GPU", "constexpr void plan",
                           "void parent()", "4.00 us measured", "30 samples", "52 % of the copy bandwidth",
                           "void other_kind()", "line 12", "SEARCH text is empty", "SUMMARY:", "1.250x"}) {
    INFO(part);
    CHECK_THAT(prompt, Contains(part));
  }
}

TEST_CASE("the prompt never holds a hold-out range") {
  const Task task = sample_task();
  const std::string prompt = prompt_of("refine", sample_input(task));
  CHECK_THAT(prompt, !Contains("777") && !Contains("888"));
}

TEST_CASE("placeholders in a candidate's source stay text") {
  const Task task = sample_task();
  VariationInput input = sample_input(task);
  input.parent.candidate.source = "// {{contract}}\n__global__ void parent() {}\n";
  CHECK_THAT(prompt_of("refine", input), Contains("// {{contract}}"));
}

TEST_CASE("every value that the table promises is filled in") {
  const Task task = sample_task();
  const VariationInput input = sample_input(task);
  const auto keys = [](const PromptValues& values) {
    std::set<std::string> names;
    for (const auto& [name, value] : values) names.insert(name);
    return names;
  };
  std::map<std::string, std::set<std::string>> filled{
      {"parts/task", keys(task_values(task))},
      {"parts/device", keys(device_values(input.device))},
      {"parts/parent", keys(specimen_values(task, input.device, input.parent))},
      {"parts/inspiration", keys(specimen_values(task, input.device, input.parent))},
      {"parts/failure", keys(failure_values(input.failures[0]))}};
  for (const PromptUse& use : prompt_uses())
    if (filled.count(use.name) > 0) CHECK(filled[use.name] == use.filled);
}

TEST_CASE("a usable reply is submitted") {
  const Task task = sample_task();
  const PromptLibrary prompts = library();
  PromptOperator refine("refine", sample_input(task), prompts);
  const Action call = refine.next(Started{});
  CHECK(std::get<CallModel>(call).request.messages.size() == 2);
  const Action action =
      refine.next(ModelAnswered{answer("SUMMARY: new\n```cuda\n__global__ void child() {}\n```\n")});
  CHECK(std::get<Submit>(action).proposal.summary == "new");
}

TEST_CASE("an unusable reply is answered once with the reason, the second ends the variation") {
  const Task task = sample_task();
  const PromptLibrary prompts = library();
  PromptOperator refine("refine", sample_input(task), prompts);
  refine.next(Started{});
  const Action again = refine.next(ModelAnswered{answer("no code")});
  const auto& messages = std::get<CallModel>(again).request.messages;
  REQUIRE(messages.size() == 4);
  CHECK_THAT(messages[3].text, Contains("neither a ```cuda block"));
  const Action end = refine.next(ModelAnswered{answer("still none")});
  CHECK(std::get<GiveUp>(end).rejection.reason == "no_code_block");
}

TEST_CASE("a failed call ends the variation under its own code") {
  const Task task = sample_task();
  const PromptLibrary prompts = library();
  PromptOperator refine("refine", sample_input(task), prompts);
  refine.next(Started{});
  ModelReply reply;
  reply.failure = "timeout";
  const Action action = refine.next(ModelAnswered{reply});
  CHECK(std::get<GiveUp>(action).rejection.reason == "model_timeout");
}

TEST_CASE(
    "the system message, which later calls repeat, holds task, device and contract and nothing of the "
    "parent") {
  const Task task = sample_task();
  const OperatorPrompt prompt = render_operator("edit", sample_input(task), library());
  REQUIRE(prompt.messages.size() == 2);
  CHECK(prompt.stable_messages == 1);
  CHECK_THAT(prompt.messages[0].text,
             Contains("Test GPU") && Contains("constexpr void plan") && !Contains("void parent()"));
  CHECK(prompt.messages[0].text == render_operator("refine", sample_input(task), library()).messages[0].text);
}

TEST_CASE("edit asks for edits, repair shows the verdict of the kernel that failed") {
  const Task task = sample_task();
  VariationInput input = sample_input(task);
  CHECK_THAT(prompt_of("edit", input), Contains("SEARCH") && !Contains("Either the whole new file"));
  input.parent.verdict = Verdict::failed("check", "wrong_values", "rows of output y differ");
  CHECK_THAT(prompt_of("repair", input),
             Contains("failed at stage check") && Contains("rows of output y differ"));
}

TEST_CASE("a prompt that is too long loses rejections first, then older failures, and tells what was cut") {
  const Task task = sample_task();
  VariationInput input = sample_input(task);
  input.rejections = {std::string(500, 'r'), std::string(500, 's')};
  input.failures.push_back(input.failures[0]);
  input.prompt_tokens_max = 1000;  // less than the parts that are never cut
  const OperatorPrompt prompt = render_operator("refine", input, library());
  REQUIRE(prompt.cuts.size() == 3);
  CHECK(prompt.cuts[0].section == "rejections");
  CHECK(prompt.cuts[0].items == 2);
  CHECK(prompt.cuts[1].section == "failures");
  CHECK(prompt.cuts[2].section == "inspirations");
  CHECK_THAT(prompt.messages[1].text,
             Contains("void parent()") && !Contains("rrrr") && !Contains("other_kind"));
  input.prompt_tokens_max = 48'000;
  CHECK(render_operator("refine", input, library()).cuts.empty());
}

TEST_CASE("a reply that is cut off is continued once in the same conversation") {
  const Task task = sample_task();
  const PromptLibrary prompts = library();
  PromptOperator refine("refine", sample_input(task), prompts);
  refine.next(Started{});
  ModelReply cut = answer("SUMMARY: new\n```cuda\n__global__ void ch");
  cut.failure = "length";
  const Action again = refine.next(ModelAnswered{cut});
  const auto& messages = std::get<CallModel>(again).request.messages;
  REQUIRE(messages.size() == 4);
  CHECK_THAT(messages[3].text, Contains("limit of length"));
  const Action action = refine.next(ModelAnswered{answer("ild() {}\n```\n")});
  CHECK(std::get<Submit>(action).proposal.candidate.source == "__global__ void child() {}\n");
}

TEST_CASE("a reply that used up its limit before it said anything is not continued") {
  const Task task = sample_task();
  const PromptLibrary prompts = library();
  PromptOperator refine("refine", sample_input(task), prompts);
  refine.next(Started{});
  ModelReply cut;
  cut.failure = "length";
  const Action action = refine.next(ModelAnswered{cut});
  CHECK(std::get<GiveUp>(action).rejection.reason == "model_length");
}

TEST_CASE("edits that reached the limit are continued even if those that are there can be read") {
  const Task task = sample_task();
  const PromptLibrary prompts = library();
  PromptOperator edit("edit", sample_input(task), prompts);
  edit.next(Started{});
  ModelReply cut = answer(
      "<<<<<<< SEARCH\n__global__ void parent() {}\n=======\n__global__ void child() {}\n>>>>>>> REPLACE\n");
  cut.finish = "length";
  CHECK(std::holds_alternative<CallModel>(edit.next(ModelAnswered{cut})));
}

TEST_CASE("the version of an operator's prompts changes with its own file and not with another's") {
  const PromptLibrary prompts = library();
  CHECK(prompts.version("refine").size() == 12);
  CHECK(prompts.version("refine") != prompts.version("edit"));
  CHECK(prompts.version("tune").empty());
}

TEST_CASE("operators are found by name") {
  CHECK(find_operator("refine")->needs_model);
  CHECK_FALSE(find_operator("tune")->needs_model);
  CHECK(find_operator("magic") == nullptr);
}

TEST_CASE("every operator's prompt is filled: no placeholder is left in what a model sees") {
  const Task task = sample_task();
  VariationInput input = sample_input(task);
  input.parent.examination.descriptors = {{"movement", "cp_async"}, {"compute", "fma"}, {"split", "tile"}};
  input.second_parent = input.inspirations[0];
  input.target_cell = "tma/fma/split_kv";
  input.target_workload = "llama";
  for (const OperatorRow& row : operator_table()) {
    if (!row.needs_model || row.is_scheduled) continue;
    INFO(row.name);
    CHECK(placeholders_in(prompt_of(std::string(row.name), input)).empty());
    const int parents = library().file("operators/" + std::string(row.name)).parents;
    CHECK(parents == (row.parent == ParentKind::pair ? 2 : 1));
  }
}

TEST_CASE("crossover shows both parents, and says which one edits are edits of") {
  const Task task = sample_task();
  VariationInput input = sample_input(task);
  input.second_parent.emplace();
  input.second_parent->candidate = {"__global__ void second() {}\n", {}};
  const std::string prompt = prompt_of("crossover", input);
  CHECK(prompt.find("void parent()") < prompt.find("void second()"));
  CHECK_THAT(prompt, Contains("edits of the first parent"));
}

TEST_CASE("target names the axes that change and the ones that stay, and what each label is measured by") {
  const Task task = sample_task();
  VariationInput input = sample_input(task);
  input.parent.examination.descriptors = {{"movement", "cp_async"}, {"compute", "fma"}, {"split", "tile"}};
  input.target_cell = "tma/fma/split_kv";
  const std::string prompt = prompt_of("target", input);
  CHECK_THAT(
      prompt,
      Contains("movement: from `cp_async` to `tma`. Operand tiles go to shared memory by bulk copies"));
  CHECK_THAT(prompt, Contains("compute: stays `fma`. "));
  CHECK_THAT(prompt, Contains("split: from `tile` to `split_kv`. Parts of one output"));
}

TEST_CASE("port states the workload, the parent's time there, and how far ahead the fastest is") {
  const Task task = sample_task();
  VariationInput input = sample_input(task);
  input.target_workload = "llama";
  CHECK_THAT(prompt_of("port", input), Contains("The parent takes 4.00 us there.\n") &&
                                           Contains("The parent itself is the fastest kernel there so far."));
  input.second_parent = input.parent;
  input.second_parent->candidate.source = "__global__ void rival() {}\n";
  input.second_parent->duel->timing["llama"][0].time_us_median = 2;
  CHECK_THAT(prompt_of("port", input),
             Contains("2.00 times what the fastest kernel takes") && Contains("void rival()"));
}
