// SPDX-License-Identifier: Apache-2.0
// Chat completions: OpenAI's older protocol, which nearly every server speaks.
#pragma once

#include "engine/llm/dialect.h"

namespace kernelites {

std::string chat_body(const ModelRequest& request, const ModelShape& shape);
void read_chat(ModelOutcome& outcome, const Json& document);
JoinedStream join_chat(const std::vector<ServerSentEvent>& events);

inline constexpr Dialect k_chat_dialect = {
    .name = "chat", .path = "/chat/completions", .body = chat_body, .read = read_chat, .join = join_chat};

}  // namespace kernelites
