// SPDX-License-Identifier: Apache-2.0
// From what the run recorded at its start.
#include "archive/public_secrets.h"

namespace kernelites {

Key public_model_key() { return Key::fixed("modelled times"); }

std::string public_secrets(const RunRecord& run, bool is_modelled) {
  if (run.configuration.value("is_deterministic", false))
    return "the run was deterministic: the inputs, sampled rows and hidden shapes of its examinations follow "
           "from its "
           "seed";
  if (is_modelled && run.model_key == public_model_key().hex())
    return "the run began with recorded replies: the inputs and blocks of its modelled times are those of "
           "every such "
           "run";
  return "";
}

}  // namespace kernelites
