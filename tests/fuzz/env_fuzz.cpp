// SPDX-License-Identifier: Apache-2.0
// Requests of a trainer to the harness as an environment, several lines an input.
#include "tests/fuzz/fuzzed_parser.h"
#include "tests/support/fake_evaluator.h"
#include "tests/support/small_task.h"
#include "tools/dataset/episode.h"

namespace kernelites::fuzz {
namespace {

constexpr int k_lines_max = 16;

/// Everything that stays the same from input to input.
struct EnvWorld {
  Task task = parse_task(small_task_document(), "reference", "small_task.json");
  PromptLibrary prompts = PromptLibrary::load(std::string(KERNELITES_SOURCE_DIR) + "/prompts");
  Provenance provenance = fake_provenance(true);
};

/// Words in comments steer the fake, which does not expect nonsense there: an evaluation is always the same.
Reply reply_to(Request request, const Provenance& provenance) {
  const std::string kernel = "// us: 100\n";
  if (request.examine) request.examine->candidate.source = kernel;
  if (request.duel)
    for (DuelArm& arm : request.duel->arms) arm.candidate.source = kernel;
  return fake_reply(request, provenance);
}

}  // namespace

void fuzz_env(std::string_view input) {
  static const EnvWorld world;
  Episodes episodes({.task = world.task,
                     .prompts = world.prompts,
                     .seeds = {{"slow.cu", {"// tune: BM = 16 | 32\n__global__ void k() {}\n", {}}}},
                     .device = world.provenance.device,
                     .steps_max = 4,
                     .draw_key = [] { return Key{}; }},
                    [](const Request& request) { return reply_to(request, world.provenance); });
  for (int lines = 0; lines < k_lines_max && !input.empty() && !episodes.is_closed(); ++lines) {
    const std::size_t end = std::min(input.find('\n'), input.size());
    const Json answer = episodes.answer(std::string(input.substr(0, end)));
    demand(answer.is_object() && answer.contains("event"), "every line is answered");
    answer.dump(-1, ' ', false, Json::error_handler_t::replace);
    input.remove_prefix(std::min(end + 1, input.size()));
  }
}

}  // namespace kernelites::fuzz
