// SPDX-License-Identifier: Apache-2.0
// Draws of a kind, then of a place.
#include "tests/support/landscapes/scripted_edit.h"

#include <algorithm>
#include <vector>

namespace kernelites {
namespace {

/// Where exploits end, with how many of the corpus on an H100 (docs/harness.md), and a usual reason.
struct CheatEnd {
  const char *stage, *reason;
  double weight;
};
constexpr CheatEnd k_cheat_ends[] = {
    {"compile", "source_asks_files", 26},  {"plan", "plan_output_not_written", 32},
    {"screen", "screen_module_state", 24}, {"sanitize", "out_of_bounds", 39},
    {"probe", "property_violated", 39},    {"check", "numerical_mismatch", 40},
    {"bench", "numerical_mismatch", 13}};

Verdict cheat_verdict(Rng& rng) {
  std::vector<double> weights;
  for (const CheatEnd& end : k_cheat_ends) weights.push_back(end.weight);
  const CheatEnd& end = k_cheat_ends[rng.weighted(weights)];
  return Verdict::failed(end.stage, end.reason, "the candidate does not do the operator's work");
}

/// The parent with one tunable changed, and more of them at the rate `further`.
std::size_t draw_move(const Landscape& landscape, std::size_t parent, double further, Rng& rng) {
  std::size_t point = parent;
  do {
    const std::vector<std::size_t> next = landscape.neighbours(point);
    const std::size_t drawn = next[rng.below(next.size())];
    if (drawn != parent) point = drawn;
  } while (rng.uniform() < further || point == parent);
  return point;
}

/// Another value of the first tunable; the others as they come.
std::size_t draw_jump(const Landscape& landscape, std::size_t parent, Rng& rng) {
  const std::size_t strategies = landscape.tunables.front().values.size();
  const std::size_t rest = landscape.points.size() / strategies;
  const std::size_t other = (parent / rest + 1 + rng.below(strategies - 1)) % strategies;
  return other * rest + rng.below(rest);
}

}  // namespace

ScriptedEdit scripted_edit(const Landscape& landscape, std::size_t parent, const EditRates& rates, Rng& rng) {
  const double others = rates.no_code + rates.broken + rates.cheat + rates.same + rates.jump;
  const std::size_t kind = rng.weighted(
      {rates.no_code, rates.broken, rates.cheat, rates.same, rates.jump, std::max(0.0, 1 - others)});
  ScriptedEdit edit{.kind = static_cast<EditKind>(kind), .point = parent};
  switch (edit.kind) {
    case EditKind::no_code:
      return edit;
    case EditKind::broken:
      edit.verdict = Verdict::failed("compile", "compile_error", "the candidate does not compile");
      return edit;
    case EditKind::cheat:
      edit.verdict = cheat_verdict(rng);
      return edit;
    case EditKind::same:
      break;
    case EditKind::jump:
      edit.point = draw_jump(landscape, parent, rng);
      break;
    case EditKind::move:
      edit.point = draw_move(landscape, parent, rates.further, rng);
      if (rng.uniform() < rates.insight) {
        const std::size_t other = draw_move(landscape, parent, rates.further, rng);
        if (landscape.speedup(other) > landscape.speedup(edit.point)) edit.point = other;
      }
      break;
  }
  const LandscapePoint& point = landscape.points[edit.point];
  edit.verdict =
      point.is_passed() ? Verdict::passed() : Verdict::failed(point.stage, point.reason, "as measured");
  return edit;
}

}  // namespace kernelites
