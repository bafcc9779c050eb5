// SPDX-License-Identifier: Apache-2.0
// Messages: Anthropic's protocol, with a cache that the request marks.
#pragma once

#include "engine/llm/dialect.h"

namespace kernelites {

std::string messages_body(const ModelRequest& request, const ModelShape& shape);
void read_messages(ModelOutcome& outcome, const Json& document);
JoinedStream join_messages(const std::vector<ServerSentEvent>& events);

inline constexpr Dialect k_messages_dialect = {.name = "messages",
                                               .path = "/messages",
                                               .body = messages_body,
                                               .read = read_messages,
                                               .join = join_messages};

}  // namespace kernelites
