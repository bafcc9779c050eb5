// SPDX-License-Identifier: Apache-2.0
// One number that a person or a model reads of a kernel: what it is, how much, what it means.
#pragma once

#include <string>

namespace kernelites {

/// "limiting roof", "memory: 41 % of its floor", "the time that the task's bytes need at the device's peak rate".
struct FeedbackRow {
  std::string name;
  std::string value;    ///< with its unit
  std::string meaning;  ///< one line, no full stop
};

}  // namespace kernelites
