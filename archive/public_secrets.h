// SPDX-License-Identifier: Apache-2.0
// What of a run's secrets anybody can know beforehand: golden runs have a fixed key, and so have the modelled times of
// runs that began with recorded replies.
#pragma once

#include <string>

#include "archive/records.h"
#include "engine/core/digest.h"

namespace kernelites {

/// Of modelled times where no model answers that could learn from them; it stands in this source.
Key public_model_key();

/// Why results of `run` are no evidence against a candidate that was made to know them; empty: nothing of the kind.
/// `is_modelled`: its times are.
std::string public_secrets(const RunRecord& run, bool is_modelled);

}  // namespace kernelites
