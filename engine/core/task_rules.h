// SPDX-License-Identifier: Apache-2.0
// The rules that tie the sections of a task together, applied once at loading. Internal to engine/core.
#pragma once

#include <string>
#include <string_view>

#include "engine/core/task.h"

namespace kernelites {

/// The document that the rules speak of.
struct RulePlace {
  const std::string& where;
  /// Throws ConfigError.
  [[noreturn]] void fail(std::string_view field, std::string_view problem) const;
};

/// Adds the constant dims to every workload, then checks: names are unique among dims, scalars and tensors;
/// shapes, rows, fills and valid parts name what exists; workloads and hold-out ranges bind exactly the
/// variable dims; every output has a precision and holds its row dims; properties name what exists; the roofline
/// formulas have values. Throws ConfigError.
void complete_and_check_task(Task& task, const std::string& where);

const DimSpec* find_dim(const Task& task, std::string_view name);
const TensorSpec* find_tensor(const Task& task, std::string_view name);
/// For messages: the dims, comma-separated.
std::string dim_names(const Task& task, bool only_variable);

// One file, tensor_rules.cpp, in the order in which later ones rely on earlier ones.
void check_tensor_rules(const Task& task, const RulePlace& place);
void check_output_rules(const Task& task, const RulePlace& place);
void check_family_rules(const Task& task, const RulePlace& place);
/// REQUIRES: workloads are complete.
void check_property_rules(const Task& task, const RulePlace& place);

}  // namespace kernelites
