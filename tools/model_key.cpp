// SPDX-License-Identifier: Apache-2.0
// Kept, taken over, fixed or drawn.
#include "tools/model_key.h"

#include <algorithm>

namespace kernelites {
namespace {

/// Of runs from which nobody learns.
constexpr const char* k_golden_model_key = "modelled times";

}  // namespace

Key run_model_key(const std::optional<RunRecord>& resumed, const std::string& fork,
                  const std::vector<EndpointConfig>& endpoints, bool is_deterministic) {
  std::optional<RunRecord> before = resumed;
  if (!before && !fork.empty()) before = Archive::open_read_only(fork).run();
  if (before && !before->model_key.empty()) return Key::from_hex(before->model_key, "run.db: model_key");
  const bool is_recorded =
      std::all_of(endpoints.begin(), endpoints.end(), [](const EndpointConfig& endpoint) {
        return std::holds_alternative<ReplaySettings>(endpoint.settings);
      });
  return is_deterministic || is_recorded ? Key::fixed(k_golden_model_key) : Key::random();
}

Key model_key_option(const std::string& hex) {
  return hex.empty() ? Key::random() : Key::from_hex(hex, "--model-key");
}

}  // namespace kernelites
