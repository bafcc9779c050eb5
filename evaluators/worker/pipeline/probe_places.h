// SPDX-License-Identifier: Apache-2.0
// Properties that move, hide or merge tokens, heads, pages and sequences.
#pragma once

#include "engine/core/rng.h"
#include "evaluators/worker/pipeline/probe_rig.h"

namespace kernelites::worker {

// Each: whether `property` holds at a shape (docs/tasks.md, section Properties).
bool holds_isolate(ProbeRig& rig, const Property& property, std::size_t point, Rng& rng);
bool holds_future(ProbeRig& rig, const Property& property, std::size_t point, Rng& rng);
bool holds_permute(ProbeRig& rig, const Property& property, std::size_t point, Rng& rng);
bool holds_permute_tokens(ProbeRig& rig, const Property& property, std::size_t point, Rng& rng);
bool holds_permute_pages(ProbeRig& rig, const Property& property, std::size_t point, Rng& rng);
bool holds_crop(ProbeRig& rig, const Property& property, std::size_t point, Rng& rng);
bool holds_expand(ProbeRig& rig, const Property& property, std::size_t point, Rng& rng);
bool holds_split(ProbeRig& rig, const Property& property, std::size_t point, Rng& rng);

}  // namespace kernelites::worker
