// SPDX-License-Identifier: Apache-2.0
// What a worker can say of its machine before it evaluates anything: devices, libraries, permissions, jail.
#pragma once

#include <string>
#include <vector>

#include "engine/core/json.h"
#include "evaluators/worker/nvrtc/nvrtc_library.h"

namespace kernelites::worker {

/// One thing that was looked at. `state`: "ok", "warn" (evaluation works with less) or "bad" (it does not).
struct InspectionLine {
  std::string subject;  ///< "compiler", "driver", "device", "counters", "sanitizer", "jail"
  std::string state;
  std::string found;
  std::string remedy;  ///< empty where nothing is to be done
};

void to_json(Json& json, const InspectionLine& line);

/// Looks at everything. `wants_gpu`: a missing driver or device is "bad" and not "warn". Throws nothing: trouble is a
/// line. It opens the driver, so that this process must not evaluate afterwards.
std::vector<InspectionLine> inspect_machine(const ToolkitSearch& toolkit, bool wants_gpu);

}  // namespace kernelites::worker
