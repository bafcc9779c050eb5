// SPDX-License-Identifier: Apache-2.0
// The seam of observers: every event of a run, as one JSON object, in order (events.jsonl, console, tests).
#pragma once

#include "engine/core/json.h"

namespace kernelites {

/// Receives events. An event has "event" (its name), "ordinal" where it concerns a candidate, and "time_s" since
/// start.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void on_event(const Json& event) = 0;
};

}  // namespace kernelites
