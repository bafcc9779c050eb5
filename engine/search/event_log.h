// SPDX-License-Identifier: Apache-2.0
// events.jsonl: every event of a run as one line, appended and flushed at once.
#pragma once

#include <filesystem>
#include <fstream>

#include "engine/search/event_sink.h"

namespace kernelites {

class EventLog : public EventSink {
 public:
  /// Appends to `file`; a torn last line of a killed run is ended first. Throws Error if it cannot be opened.
  explicit EventLog(const std::filesystem::path& file);
  /// Throws Error if the disk is full.
  void on_event(const Json& event) override;

 private:
  std::filesystem::path file_;
  std::ofstream out_;
};

}  // namespace kernelites
