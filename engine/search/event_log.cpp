// SPDX-License-Identifier: Apache-2.0
// events.jsonl: every event of a run as one line, appended and flushed at once.
#include "engine/search/event_log.h"

#include <fmt/format.h>

#include "engine/core/error.h"

namespace kernelites {
namespace {

bool ends_torn(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  if (!in || in.tellg() <= 0) return false;
  in.seekg(-1, std::ios::end);
  return in.get() != '\n';
}

}  // namespace

EventLog::EventLog(const std::filesystem::path& file) : file_(file) {
  const bool is_torn = ends_torn(file);
  out_.open(file, std::ios::binary | std::ios::app);
  if (!out_) throw Error(fmt::format("cannot write {}", file.string()));
  if (is_torn) out_ << '\n';
}

void EventLog::on_event(const Json& event) {
  out_ << event.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n' << std::flush;
  if (!out_) throw Error(fmt::format("cannot write {}: is the disk full?", file_.string()));
}

}  // namespace kernelites
