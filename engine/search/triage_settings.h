// SPDX-License-Identifier: Apache-2.0
// What the time model may do to duels on a real device: put them in order, or leave some out. It accepts nobody.
#pragma once

#include <array>
#include <string>
#include <string_view>

namespace kernelites {

/// off: nothing is modelled. order: who looks most promising duels first. skip: besides, who is far behind does not
/// duel.
inline constexpr std::array<std::string_view, 3> k_triage_modes{"off", "order", "skip"};

struct TriageSettings {
  std::string mode = "off";  ///< one of k_triage_modes
  /// Far behind is who is modelled to be slower than each of those whom it could replace by more than so many times
  /// what the model errs on average.
  double errors = 2;
  int sample =
      8;  ///< of those that are far behind one in so many duels all the same, so that errors are seen
  bool operator==(const TriageSettings&) const = default;
};

}  // namespace kernelites
