// SPDX-License-Identifier: Apache-2.0
// The compile child (one jailed process per compile) and the supervisor's handle on it.
#pragma once

#include <deque>
#include <filesystem>
#include <mutex>
#include <string>
#include <utility>

#include "evaluators/worker/contract/defences.h"
#include "evaluators/worker/nvrtc/compile.h"
#include "evaluators/worker/nvrtc/nvrtc_library.h"
#include "evaluators/worker/sandbox/child.h"

namespace kernelites::worker {

/// The role under which a program that owns a `Compiler` answers (`run_child_role`).
inline constexpr std::string_view k_compile_role = "compile";

/// The compile child: loads NVRTC, enters the jail, waits for one input, answers, ends.
int compile_child_main(Channel& channel);

/// Outputs that `compile_once` keeps; some hundred kilobytes each.
inline constexpr std::size_t k_outputs_known_max = 32;

/// Children kept warm: an examination begins with two compiles at once (the candidate's plans, the reference's) and
/// goes on with a third; none of them should wait for a library to load.
inline constexpr std::size_t k_warm_children = 3;

/// Compiles, each time in a fresh jailed child that is killed at its deadline; some children are kept warm
/// (jailed, library loaded, waiting). What crashes or hangs is the child, and it has a name in
/// `CompileOutput::failure`: `compiler_crash` (after one more try), `compile_deadline`. Thread-safe: several
/// compiles may be under way.
class Compiler {
 public:
  /// `program` answers to `k_compile_role`; by default this very program.
  /// `allows_weak_jail`: a system on which a compile could read files is put up with.
  explicit Compiler(Toolkit toolkit, std::filesystem::path program = "/proc/self/exe", Defences defences = {},
                    bool allows_weak_jail = false);

  /// Throws Error if the system gives no child; what the source does is in the output.
  CompileOutput compile(const CompileInput& input, double deadline_s);
  /// The same for trusted sources that come again and again (references): an input that compiled is not compiled twice.
  CompileOutput compile_once(const CompileInput& input, double deadline_s);
  const Toolkit& toolkit() const { return toolkit_; }
  /// What is judged of sources, plans and code.
  const Defences& defences() const { return defences_; }

 private:
  Child start();
  Child take();
  CompileOutput try_to_compile(const CompileInput& input, double deadline_s);
  /// A child that has taken `input`. One that ended before that is replaced once, then it is an Error.
  Child start_with(const CompileInput& input);

  Toolkit toolkit_;
  std::filesystem::path program_;
  Defences defences_;
  bool allows_weak_jail_ = false;
  std::mutex mutex_;
  std::deque<Child> warm_;
  std::deque<std::pair<std::string, CompileOutput>> known_;  ///< by digest of the input; oldest first
};

}  // namespace kernelites::worker
