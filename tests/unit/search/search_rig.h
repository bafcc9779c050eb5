// SPDX-License-Identifier: Apache-2.0
// A run in a temporary folder with a fake evaluator and a fake model.
#pragma once

#include "archive/dump.h"
#include "engine/search/lesson_book.h"
#include "engine/search/loop.h"
#include "tests/support/fake_evaluator.h"
#include "tests/support/fake_model.h"
#include "tests/support/hand_clock.h"
#include "tests/support/small_task.h"
#include "tests/support/temporary_folder.h"

namespace kernelites {

/// Collects events; throws at the one with number `throw_at` (1 is the first).
class RecordingSink : public EventSink {
 public:
  struct Kill {};
  void on_event(const Json& event) override {
    events.push_back(event);
    if (throw_at > 0 && static_cast<int>(events.size()) == throw_at) throw Kill{};
  }
  std::size_t count(const std::string& name) const {
    std::size_t n = 0;
    for (const Json& event : events) n += event.at("event") == name ? 1 : 0;
    return n;
  }
  std::vector<Json> events;
  int throw_at = 0;
};

/// Two seeds of different cells, one with a tunable.
inline std::vector<Seed> two_seeds() {
  return {{"fast.cu",
           {"// cell: shared fma tile\n// us: 80\n// tune: BN = 16 | 32 | 64 | 128\n__global__ void k() {}\n",
            {{"BN", 16}}}},
          {"naive.cu", {"// us: 200\n__global__ void k() {}\n", {}}}};
}

/// Everything that outlives one session of a run.
struct SearchRig {
  TemporaryFolder folder;
  Task task = parse_task(small_task_document(), "reference", "small_task.json");
  RunConfig config;
  PromptLibrary prompts = PromptLibrary::load(std::filesystem::path(KERNELITES_SOURCE_DIR) / "prompts");
  std::vector<Seed> seeds = two_seeds();
  HandClock clock;
  RecordingSink sink;
  std::string device = "vgpu";
  bool has_lessons = false;  ///< as a run that was given a knowledge file

  SearchRig() {
    config.task = task.name;
    config.in_flight = 4;
    config.budget.candidates = 12;
    config.stop_grace_s = 0;
  }

  Archive open() {
    if (Archive::exists(folder.path())) return Archive::open(folder.path());
    RunRecord run;
    run.seed = config.seed;
    run.task = task.name;
    run.task_digest = task.digest;
    run.task_document = task.document;
    run.reference_source = task.reference_source;
    run.configuration = run_config_json(config);
    return Archive::create(folder.path(), run);
  }

  /// One session with `evaluator` and `model` (null: the tuner alone).
  LoopEnd run(Evaluator& evaluator, const EndpointSet& model, int stop_descriptor = -1) {
    Archive archive = open();
    RunParts parts{.task = task,
                   .config = config,
                   .prompts = prompts,
                   .seeds = seeds,
                   .archive = archive,
                   .evaluator = evaluator,
                   .endpoints = model,
                   .device = device,
                   .run_key = Key::fixed("test"),
                   .clock = clock.clock(),
                   .sinks = {&sink},
                   .stop_descriptor = stop_descriptor,
                   .incidents = {},
                   .steering = folder.path() / "steer.json"};
    LessonBook book(archive, task, config.effect_min);
    if (has_lessons) parts.lessons = book.reader();
    return Loop(parts).run();
  }

  std::string dump_text() {
    Archive archive = Archive::open_read_only(folder.path());
    return dump(archive);
  }
};

}  // namespace kernelites
