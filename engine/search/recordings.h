// SPDX-License-Identifier: Apache-2.0
// The model calls of a run as a recording: to replay it, to fork it, to test without a model.
#pragma once

#include <string>
#include <vector>

#include "archive/archive.h"
#include "engine/llm/record.h"

namespace kernelites {

/// Every call of the run that has ended and was not pruned, by ordinal and id. `has_prompts`: with the messages, which
/// replay does not need.
std::vector<RecordedCall> recording_of(const Archive& archive, bool has_prompts);

/// File names of the kernels that the run began with, as it numbered them.
std::vector<std::string> seed_names(const Archive& archive);

}  // namespace kernelites
