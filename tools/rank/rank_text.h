// SPDX-License-Identifier: Apache-2.0
// A ranking for people and as JSON.
#pragma once

#include <cstddef>
#include <string>

#include "engine/core/json.h"
#include "tools/rank/kernel_ranking.h"

namespace kernelites {

/// The `count_max` longest kernels, the tasks with the commands that start their runs, and what is left out.
std::string rank_text(const KernelTrace& trace, const KernelRanking& ranking, std::size_t count_max);
Json rank_json(const KernelTrace& trace, const KernelRanking& ranking, std::size_t count_max);

/// "kernelites run --task rmsnorm --out runs/rmsnorm".
std::string run_command_line(const std::string& task);

}  // namespace kernelites
