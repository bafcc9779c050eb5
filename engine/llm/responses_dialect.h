// SPDX-License-Identifier: Apache-2.0
// Responses: OpenAI's newer protocol. Nothing is stored at the server.
#pragma once

#include "engine/llm/dialect.h"

namespace kernelites {

std::string responses_body(const ModelRequest& request, const ModelShape& shape);
void read_responses(ModelOutcome& outcome, const Json& document);
JoinedStream join_responses(const std::vector<ServerSentEvent>& events);

inline constexpr Dialect k_responses_dialect = {.name = "responses",
                                                .path = "/responses",
                                                .body = responses_body,
                                                .read = read_responses,
                                                .join = join_responses};

}  // namespace kernelites
