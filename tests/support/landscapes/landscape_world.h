// SPDX-License-Identifier: Apache-2.0
// A frozen landscape behind the seams of the search: a scripted model edits in it, evaluations come from its table.
//
// A candidate of this world is a text that names its point:
//   // landscape: softmax_row 123
//   // ends: check numerical_mismatch     only for what is broken or cheats
//   // edit: 12-1                         makes every text another one
// FakeModel::script and FakeEvaluator::answer (tests/support) take the two functions; a policy that is compared without
// the loop calls `scripted_edit` itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/llm/endpoint.h"
#include "evaluators/protocol/protocol.h"
#include "tests/support/landscapes/landscape.h"
#include "tests/support/landscapes/scripted_edit.h"

namespace kernelites {

/// The candidate's text that stands for `edit`; `id` makes it unlike others of the same point.
std::string landscape_source(const Landscape& landscape, const ScriptedEdit& edit, std::string_view id);
/// The first point that `text` (a candidate or a prompt) names; nothing if it names none of this landscape.
std::optional<std::size_t> named_point(const Landscape& landscape, std::string_view text);

/// The scripted model's answer: an edit of the parent, the first candidate of the prompt. Depends on `seed` and the
/// request's id only.
ModelReply scripted_reply(const Landscape& landscape, const EditRates& rates, std::uint64_t seed,
                          const ModelRequest& request);

/// Who meets in a duel: arm 0 is the candidate.
struct LandscapeArms {
  std::vector<std::string> labels;
  std::vector<std::size_t> points;
  int rounds = 60;
  double confidence = 0.999;
};
/// A duel of points with noise of the size measured (`noise`: median of |log ratio| of two duels), drawn from `id`.
/// Failed if a point has no times.
Duel landscape_duel(const Landscape& landscape, double noise, const LandscapeArms& arms, std::string_view id);

/// What the worker would say: the point's verdict, descriptors and resources; in duels its times, as
/// `landscape_duel` draws them from the request's id.
Reply landscape_reply(const Landscape& landscape, double noise, const Request& request,
                      const Provenance& provenance);

}  // namespace kernelites
