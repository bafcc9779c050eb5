// SPDX-License-Identifier: Apache-2.0
// What a misspelt name was meant to be.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace kernelites {

/// How many characters must be put in, left out, exchanged for another or swapped with their neighbour to make
/// `left` out of `right`. Both are cut at 64 characters.
std::size_t spelling_distance(std::string_view left, std::string_view right);
/// The one of `known` that `name` is the likeliest misspelling of: the least distance, the first of equal ones; a
/// name that starts like the other counts as near. Empty where none is near.
std::string nearest_name(std::string_view name, std::span<const std::string> known);
/// ", did you mean \"elites\"?", where one of `known` is near; else empty.
std::string did_you_mean(std::string_view name, std::span<const std::string> known);
/// The same where a slip of the hand is all that separates the two: it can stand in place of all that is known.
std::string surely_meant(std::string_view name, std::span<const std::string> known);
/// Whether `name` is so close to `wanted` that it can only be a slip of the hand.
bool is_slip_of(std::string_view name, std::string_view wanted);

}  // namespace kernelites
