// SPDX-License-Identifier: Apache-2.0
// What kind of kernel a candidate is, as views tell it: stored descriptors, and better knowledge where it is there.
//
// A cell is what the grid needs: measured from plan and code before anything ran. Older harnesses placed kernels of
// clusters with those of specialised warps, and took the occupancy of the launch with most threads, which may be a
// short one. Archives keep what they stored; views must not tell it as a reason.
#pragma once

#include <optional>

#include "engine/core/evaluation.h"

namespace kernelites {

/// The label that stands for clusters where nothing shows that blocks or warps have different jobs.
inline constexpr const char* k_clusters_label = "clusters";

/// `examination.descriptors`, with the occupancy of the launch that takes most time by the model where `duel` holds its
/// launches, and without "specialised" where no code for it was compiled.
Descriptors told_descriptors(const Examination& examination, const std::optional<Duel>& duel);

}  // namespace kernelites
