// SPDX-License-Identifier: Apache-2.0
// What a failed duel says of its arms: that one has no time here, that one was refused while timed, and which one.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "engine/core/verdict.h"

namespace kernelites {

/// True where nothing is said of the kernel's correctness: it passes every check and only has no time here. All else
/// that stage time says of a kernel is a refusal.
inline bool is_without_time(const Verdict& verdict) {
  return !verdict.is_passed && (verdict.reason == "not_modelled" || verdict.reason == "deadline");
}

/// Of another arm than the first: which one and what it did.
inline std::string arm_fault_words(std::string_view label, std::string_view what) {
  return fmt::format("arm '{}' {}", label, what);
}

/// True if the duel ended because of the arm with this label, and not of the first.
inline bool accuses(const Verdict& verdict, std::string_view label) {
  return verdict.reason == "arm_unusable" && verdict.message.starts_with(arm_fault_words(label, ""));
}

/// How a seed that passes its examination and is no arm of any duel is told.
inline std::string_view no_duel_words(const Verdict& verdict) {
  return is_without_time(verdict) ? "passes every check and has no time here"
                                  : "passed its examination and was refused in stage time";
}

}  // namespace kernelites
