// SPDX-License-Identifier: Apache-2.0
// The verbs: one request in, one reply out, never an exception for what a candidate does.
#pragma once

#include "evaluators/protocol/protocol.h"
#include "evaluators/worker/nvrtc/compile_child.h"
#include "evaluators/worker/pipeline/compiled_cache.h"
#include "evaluators/worker/pipeline/station.h"

namespace kernelites::worker {

/// What every evaluation uses. Borrowed; thread-safe.
struct Workshop {
  Compiler& compiler;
  StationPool& stations;
  StationPool& sanitizers;  ///< of the virtual GPU
  CompiledCache& proven;
};

/// Runs the stages of `examine` in order up to the first failure.
Examination examine(const Workshop& workshop, const ExamineRequest& request, const Task& task,
                    double deadline_s, double& device_s);

/// Times the arms against each other; the verdict is arm 0's.
Duel duel(const Workshop& workshop, const DuelRequest& request, const Task& task, double deadline_s,
          double& device_s);

/// Reads hardware counters of a candidate. One that cannot be compiled has the verdict why.
Profile profile(const Workshop& workshop, const ProfileRequest& request, const Task& task, double deadline_s,
                double& device_s);

/// Runs a kernel on draws of every input family at the check shapes and tells how its errors lie to the gates. One that
/// cannot be compiled, or faults, is told as the calibration's problem.
Calibration calibrate(const Workshop& workshop, const CalibrateRequest& request, const Task& task,
                      double deadline_s, double& device_s);

}  // namespace kernelites::worker
