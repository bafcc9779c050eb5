// SPDX-License-Identifier: Apache-2.0
// Server-sent events (HTML standard, section 9.2): the form in which servers stream.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kernelites {

struct ServerSentEvent {
  std::string name;  ///< of its "event:" line; may be empty
  std::string data;  ///< its "data:" lines, joined by line feeds
};

/// The complete events of a stream; an unfinished one at its end, comments and other fields are dropped.
std::vector<ServerSentEvent> parse_server_sent_events(std::string_view stream);

}  // namespace kernelites
