// SPDX-License-Identifier: Apache-2.0
// The canonical text of an archive: what golden runs are compared by.
//
// One line per row, `<table> {json}`, tables and rows in a fixed order (ordinals, request ids, cells),
// members in the schema's order. Left out is what differs between two identical runs: the configuration (it
// holds paths), wall-clock times, latencies and seconds or milliseconds measured (every JSON member that ends
// in `_s` or `_ms`), the run's state, and events (a run that was killed and resumed tells a longer story of
// the same results).
#pragma once

#include <string>

#include "archive/archive.h"

namespace kernelites {

/// The dump. Byte for byte the same for identical runs.
std::string dump(const Archive& archive);
/// The SHA-256 of the dump: the signature of a golden run.
std::string golden_signature(const Archive& archive);

}  // namespace kernelites
