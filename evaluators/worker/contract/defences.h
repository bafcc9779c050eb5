// SPDX-License-Identifier: Apache-2.0
// Which of the harness's rules are in force: all, except in the program that tests what each of them is good for.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "engine/core/verdict.h"

namespace kernelites::worker {

/// Rules by the reason that they give ("screen_clock"), stages by "stage:<name>", precautions of the device by
/// "device:<name>". No request, option or file of the worker can name one: the value is passed to `Supervisor` by the
/// program that makes it, and kernelites-worker passes none (docs/decisions.md).
class Defences {
 public:
  Defences() = default;
  explicit Defences(std::set<std::string, std::less<>> off) : off_(std::move(off)) {}

  const std::set<std::string, std::less<>>& off() const { return off_; }
  bool has(std::string_view name) const { return !off_.contains(name); }
  /// The verdict, unless the rule that gave it is off.
  std::optional<Verdict> keep(std::optional<Verdict> verdict) const {
    if (verdict && !has(verdict->reason)) return std::nullopt;
    return verdict;
  }

 private:
  std::set<std::string, std::less<>> off_;
};

}  // namespace kernelites::worker
