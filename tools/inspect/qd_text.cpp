// SPDX-License-Identifier: Apache-2.0
// The figures of a grid in one line, the same in every command.
#include "tools/inspect/qd_text.h"

#include <fmt/format.h>

#include "archive/qd_metrics.h"

namespace kernelites {

std::string qd_text(const Grid& grid) {
  const QdMetrics metrics = qd_metrics(grid);
  std::string text =
      fmt::format("{} of {} cells ({:.1f} %), QD score {:.3f} ({:.4f} a cell)", metrics.num_elites,
                  grid.cell_count(), 100 * metrics.coverage, metrics.qd_score, metrics.norm_qd_score);
  if (metrics.obj_max)
    text += fmt::format(", fitness {:.3f} mean, {:.3f} max (a cell's gains multiplied)", *metrics.obj_mean,
                        *metrics.obj_max);
  return text;
}

}  // namespace kernelites
