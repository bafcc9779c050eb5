// SPDX-License-Identifier: Apache-2.0
// What a kernel is, in words for who does not know the labels: from descriptors and the evaluated plan.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/axes.h"
#include "engine/core/evaluation.h"

namespace kernelites {

/// What a label of an axis says of a kernel, as a clause: "tensor cores multiply (mma.sync)". Empty for an unknown one.
std::string_view label_words(std::string_view label);
/// The clauses for `axes` in their order; those without a descriptor are left out.
std::vector<std::string> kernel_words(std::span<const Axis> axes, const Descriptors& descriptors);
/// "2 launches: split_kv<4> on 256 blocks of 128 threads, combine on 512 blocks of 64 threads"; those of `prepare` are
/// left out. Empty for a plan without launches. Names are a model's text.
std::string plan_words(const LaunchPlan& plan);

}  // namespace kernelites
