// SPDX-License-Identifier: Apache-2.0
// What of a run's secrets anybody can know beforehand: golden runs have a fixed key, and so have the modelled times of
// runs that began with recorded replies, or with the tuner alone.
#pragma once

#include <string>

#include "archive/records.h"
#include "engine/core/digest.h"

namespace kernelites {

/// Of modelled times where no model answers that could learn from them; it stands in this source.
Key public_model_key();

struct PublicSecrets {
  std::string words;              ///< what is known and why; empty: nothing
  bool are_examinations = false;  ///< else of modelled times alone
};

/// What results of `run` are no evidence of against a candidate that was made to know it. `is_modelled`: its times are.
PublicSecrets public_secrets(const RunRecord& run, bool is_modelled);

}  // namespace kernelites
