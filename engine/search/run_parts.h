// SPDX-License-Identifier: Apache-2.0
// What a run is put together from, and the announcing of its events.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "archive/archive.h"
#include "engine/core/clock.h"
#include "engine/core/digest.h"
#include "engine/llm/endpoint_set.h"
#include "engine/search/event_sink.h"
#include "engine/search/run_config.h"
#include "engine/search/seeds.h"
#include "engine/variation/lesson.h"
#include "engine/variation/prompt_library.h"
#include "evaluators/evaluator.h"

namespace kernelites {

/// Borrowed by everything in the loop; outlives it.
struct RunParts {
  const Task& task;
  const RunConfig& config;
  const PromptLibrary& prompts;
  const std::vector<Seed>& seeds;
  Archive& archive;
  Evaluator& evaluator;
  EndpointSet endpoints = {};  ///< empty: no model, the tuner alone
  std::string device;          ///< "gpu" or "vgpu"
  Key run_key;                 ///< secrets of evaluations derive from it
  Key model_key;               ///< of all its modelled times
  Clock clock;
  std::vector<EventSink*> sinks;
  int stop_descriptor = -1;  ///< becomes readable when the user wants to stop; -1: never
  std::function<std::vector<std::string>()>
      incidents;                        ///< what happened to workers since the last call; may be empty
  std::filesystem::path steering = {};  ///< the file that steers the run; empty: none
  LessonReader lessons = {};            ///< of earlier runs; empty: there are none
};

/// Records an event in the archive and tells every sink, in this order, with the time since `start`.
class Announcer {
 public:
  explicit Announcer(RunParts& parts) : parts_(parts), start_(parts.clock.steady()) {}
  /// `event` has a member "event".
  void announce(Json event);
  double elapsed_s() const;
  /// Seconds since 1970, for records.
  double now_unix_s() const;

 private:
  RunParts& parts_;
  Clock::Steady start_;
};

}  // namespace kernelites
