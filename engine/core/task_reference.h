// SPDX-License-Identifier: Apache-2.0
// In which language a task's reference is written: its text travels alone, and the document says how to run it.
#pragma once

#include <string>

#include "engine/core/task.h"

namespace kernelites {

/// The interpreter of a task's reference.py, on the machine of the worker; empty: the reference is a reference.cu.
std::string python_of(const Task& task);

}  // namespace kernelites
