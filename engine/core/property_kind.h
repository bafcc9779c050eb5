// SPDX-License-Identifier: Apache-2.0
// The kinds of properties that a task may declare of its operator; docs/tasks.md defines each one.
//
// One list for both sides: task parsing refuses what is not in it, and the worker's probe stage has one function
// per row.
#pragma once

#include <string_view>
#include <vector>

namespace kernelites {

/// What a word of a property names.
enum class PropertyWord { input, metadata, output, workload };

/// A further key of a kind.
struct PropertyKey {
  std::string_view name;
  PropertyWord names = PropertyWord::input;
  bool is_optional = false;
};
struct PropertyNumber {
  std::string_view name;
  double fallback = 0;
};

/// One kind of property.
struct PropertyKind {
  std::string_view name;
  bool has_tensors = false;  ///< needs "tensors": one or more inputs
  bool has_dims = false;     ///< needs "dims": one or more dims
  bool is_exact = false;     ///< the default of "exact"
  std::vector<PropertyKey> words = {};
  std::vector<PropertyNumber> numbers = {};
};

/// All kinds, in the order of docs/tasks.md.
const std::vector<PropertyKind>& property_kinds();
/// The kind of that name; nullptr if there is none.
const PropertyKind* find_property_kind(std::string_view name);

}  // namespace kernelites
