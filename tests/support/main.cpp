// SPDX-License-Identifier: Apache-2.0
// Entry point of a test program with Catch2 version 2; version 3 brings its own.
#define CATCH_CONFIG_RUNNER
#include "tests/support/catch.h"

int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }
