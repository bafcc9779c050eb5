// SPDX-License-Identifier: Apache-2.0
// Lines into events.
#include "engine/llm/server_sent_events.h"

#include <optional>

namespace kernelites {
namespace {

/// Takes the next whole line off the front; lines end in LF, CR LF or CR.
std::optional<std::string_view> take_line(std::string_view& rest) {
  const std::size_t end = rest.find_first_of("\r\n");
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end + (rest.substr(end, 2) == "\r\n" ? 2 : 1));
  return line;
}

}  // namespace

std::vector<ServerSentEvent> parse_server_sent_events(std::string_view stream) {
  std::vector<ServerSentEvent> events;
  ServerSentEvent event;
  bool has_data = false;
  while (const auto line = take_line(stream)) {
    if (line->empty()) {
      if (has_data) events.push_back(std::move(event));
      event = {};
      has_data = false;
      continue;
    }
    const std::size_t colon = std::min(line->find(':'), line->size());
    const std::string_view field = line->substr(0, colon);
    std::string_view value = line->substr(std::min(colon + 1, line->size()));
    if (value.substr(0, 1) == " ") value.remove_prefix(1);
    if (field == "event") event.name = value;
    if (field != "data") continue;
    if (has_data) event.data += '\n';
    event.data += value;
    has_data = true;
  }
  return events;
}

}  // namespace kernelites
