// SPDX-License-Identifier: Apache-2.0
// The digest of a prompt: roles and texts, each with its length, so that no two conversations share one.
#include "engine/llm/endpoint.h"

#include <fmt/format.h>

#include "engine/core/digest.h"

namespace kernelites {

std::string prompt_digest(const ModelRequest& request) {
  std::string joined;
  for (const ChatMessage& message : request.messages) {
    joined += fmt::format("{}:{}:", message.role.size(), message.text.size());
    joined.append(message.role).append(message.text);
  }
  return digest(joined);
}

ModelUsage estimated_usage(const ModelRequest& request, std::string_view answer) {
  std::int64_t bytes = 0;
  for (const ChatMessage& message : request.messages) bytes += static_cast<std::int64_t>(message.text.size());
  constexpr std::int64_t k_bytes_per_token = 4;
  return {
      .input_tokens = (bytes + k_bytes_per_token - 1) / k_bytes_per_token,
      .output_tokens = (static_cast<std::int64_t>(answer.size()) + k_bytes_per_token - 1) / k_bytes_per_token,
      .is_estimated = true};
}

}  // namespace kernelites
