// SPDX-License-Identifier: Apache-2.0
// Output of a command whose parts a model wrote, for people.
#pragma once

#include <functional>

#include "tools/command_line.h"

namespace kernelites {

/// Prints what `print` does, without the control characters that a model's text in it may have.
void print_clean(Program& program, const std::function<void(Program&)>& print);

}  // namespace kernelites
