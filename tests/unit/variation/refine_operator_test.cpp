// SPDX-License-Identifier: Apache-2.0
// What a model is told, and how many chances it gets.
#include "engine/variation/refine_operator.h"

#include <filesystem>

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

ModelReply answer(const std::string& text) {
  ModelReply reply;
  reply.text = text;
  return reply;
}

}  // namespace

TEST_CASE(
    "the prompt holds task, device, contract, parent, timing, inspirations, feedback and reply format") {
  const Task task = sample_task();
  const std::string prompt = render_refine(sample_input(task), library());
  for (const char* part : {"y[r] = sum x[r][c]", "rows=512, cols=4096", "Test GPU", "constexpr void plan",
                           "void parent()", "4.00 us measured", "30 samples", "52 % of the copy bandwidth",
                           "void other_kind()", "line 12", "SEARCH text is empty", "SUMMARY:", "1.250x"}) {
    INFO(part);
    CHECK_THAT(prompt, Contains(part));
  }
}

TEST_CASE("the prompt never holds a hold-out range") {
  const Task task = sample_task();
  const std::string prompt = render_refine(sample_input(task), library());
  CHECK_THAT(prompt, !Contains("777") && !Contains("888"));
}

TEST_CASE("placeholders in a candidate's source stay text") {
  const Task task = sample_task();
  VariationInput input = sample_input(task);
  input.parent.candidate.source = "// {{contract}}\n__global__ void parent() {}\n";
  CHECK_THAT(render_refine(input, library()), Contains("// {{contract}}"));
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
  RefineOperator refine(sample_input(task), prompts);
  const Action call = refine.next(Started{});
  CHECK(std::get<CallModel>(call).request.messages.size() == 2);
  const Action action =
      refine.next(ModelAnswered{answer("SUMMARY: new\n```cuda\n__global__ void child() {}\n```\n")});
  CHECK(std::get<Submit>(action).proposal.summary == "new");
}

TEST_CASE("an unusable reply is answered once with the reason, the second ends the variation") {
  const Task task = sample_task();
  const PromptLibrary prompts = library();
  RefineOperator refine(sample_input(task), prompts);
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
  RefineOperator refine(sample_input(task), prompts);
  refine.next(Started{});
  ModelReply reply;
  reply.failure = "timeout";
  const Action action = refine.next(ModelAnswered{reply});
  CHECK(std::get<GiveUp>(action).rejection.reason == "model_timeout");
}

TEST_CASE("operators are found by name") {
  CHECK(find_operator("refine")->needs_model);
  CHECK_FALSE(find_operator("tune")->needs_model);
  CHECK(find_operator("magic") == nullptr);
}
