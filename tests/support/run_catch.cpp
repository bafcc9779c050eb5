// SPDX-License-Identifier: Apache-2.0
// The runner, for Catch2 version 2 and 3 alike.
#include "tests/support/run_catch.h"

#define CATCH_CONFIG_RUNNER
#include "tests/support/catch.h"

namespace kernelites {

int run_catch(int argc, char** argv) { return Catch::Session().run(argc, argv); }

}  // namespace kernelites
