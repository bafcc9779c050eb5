// SPDX-License-Identifier: Apache-2.0
// Entry point of the device tests.
#define CATCH_CONFIG_RUNNER
#include "tests/support/catch.h"

int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }
