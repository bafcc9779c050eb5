// SPDX-License-Identifier: Apache-2.0
// Runs the cases of a test program. Catch2 2 compiles its runner where this is defined, once for all programs.
#pragma once

namespace kernelites {

/// The program's exit code.
int run_catch(int argc, char** argv);

}  // namespace kernelites
