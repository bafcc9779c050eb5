// SPDX-License-Identifier: Apache-2.0
// Kept, taken over, fixed or drawn.
#include "tools/model_key.h"

#include <algorithm>

#include "archive/public_secrets.h"

namespace kernelites {
namespace {

bool are_recorded(const std::vector<EndpointConfig>& endpoints) {
  return std::all_of(endpoints.begin(), endpoints.end(), [](const EndpointConfig& endpoint) {
    return std::holds_alternative<ReplaySettings>(endpoint.settings);
  });
}

}  // namespace

Key run_model_key(const std::optional<RunRecord>& resumed, const std::string& fork,
                  const std::vector<EndpointConfig>& endpoints, bool is_deterministic) {
  std::optional<RunRecord> before = resumed;
  if (!before && !fork.empty()) before = Archive::open_read_only(fork).run();
  if (before && !before->model_key.empty()) return Key::from_hex(before->model_key, "run.db: model_key");
  return is_deterministic || are_recorded(endpoints) ? public_model_key() : Key::random();
}

std::string model_key_warning(const Key& key, const std::vector<EndpointConfig>& endpoints,
                              bool is_modelled) {
  if (!is_modelled || are_recorded(endpoints) || key.hex() != public_model_key().hex()) return "";
  return "warning: this run's modelled times keep the key of runs of recorded replies, which anybody can "
         "know, so that "
         "they can be compared; whoever answers could fit kernels to them. For results to rely on, begin a "
         "run of its "
         "own.\n";
}

Key model_key_option(const std::string& hex) {
  return hex.empty() ? Key::random() : Key::from_hex(hex, "--model-key");
}

}  // namespace kernelites
