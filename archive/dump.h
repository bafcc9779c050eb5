// SPDX-License-Identifier: Apache-2.0
// The canonical text of an archive: what golden runs are compared by.
//
// One line per row, `<table> {json}`, tables and rows in a fixed order (ordinals, request ids, cells),
// members in the schema's order. Left out is what differs between two identical runs: the configuration (it
// holds paths), the run's state, wall-clock times, latencies, what the worker measured of itself (stage_ms,
// worker_s, device_s), error texts of requests without result, and events (a run that was killed and resumed
// tells a longer story of the same results). Kernel times stay: in a golden run they are modelled and repeat
// exactly.
#pragma once

#include <string>

#include "archive/archive.h"

namespace kernelites {

/// The dump. Byte for byte the same for identical runs.
std::string dump(const Archive& archive);
/// The SHA-256 of the dump: the signature of a golden run.
std::string golden_signature(const Archive& archive);

}  // namespace kernelites
