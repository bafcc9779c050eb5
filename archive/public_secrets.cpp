// SPDX-License-Identifier: Apache-2.0
// From what the run recorded at its start.
#include "archive/public_secrets.h"

namespace kernelites {

Key public_model_key() { return Key::fixed("modelled times"); }

PublicSecrets public_secrets(const RunRecord& run, bool is_modelled) {
  if (run.configuration.value("is_deterministic", false))
    return {.words =
                "the run was deterministic: the inputs, sampled rows and hidden shapes of its examinations "
                "follow from its seed",
            .are_examinations = true};
  if (is_modelled && run.model_key == public_model_key().hex())
    return {.words =
                "the run began without a model that could learn from times (recorded replies, or the tuner "
                "alone): the inputs and blocks of its modelled times are those of every such run, while its "
                "examinations are secret"};
  return {};
}

}  // namespace kernelites
