// SPDX-License-Identifier: Apache-2.0
// The compile child (one jailed process per compile) and the supervisor's handle on it.
#pragma once

#include <memory>

#include "evaluators/worker/nvrtc/compile.h"
#include "evaluators/worker/nvrtc/nvrtc_library.h"

namespace kernelites::worker {

/// Compiles, each time in a fresh jailed child that is killed at its deadline; one child is kept warm
/// (library loaded, jailed, waiting). What crashes or hangs is the child, and it has a name in
/// `CompileOutput::failure`. Thread-safe: several compiles may be under way.
class Compiler {
 public:
  explicit Compiler(Toolkit toolkit);
  ~Compiler();
  Compiler(const Compiler&) = delete;
  Compiler& operator=(const Compiler&) = delete;

  CompileOutput compile(const CompileInput& input, double deadline_s);
  const Toolkit& toolkit() const { return toolkit_; }

 private:
  struct Impl;
  Toolkit toolkit_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kernelites::worker
