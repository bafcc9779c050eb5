// SPDX-License-Identifier: Apache-2.0
// Secrets, wherever they stand in a text, become one word.
#include "engine/llm/secret_text.h"

namespace kernelites {

void blot_out(std::string& text, std::string_view secret) {
  constexpr std::size_t k_secret_bytes_min = 6;
  constexpr std::string_view k_replacement = "[secret]";
  if (secret.size() < k_secret_bytes_min) return;
  // Goes on behind the replacement, of which the secret may be a part.
  for (std::size_t at = text.find(secret); at != std::string::npos;
       at = text.find(secret, at + k_replacement.size())) {
    text.replace(at, secret.size(), k_replacement);
  }
}

}  // namespace kernelites
