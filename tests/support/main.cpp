// SPDX-License-Identifier: Apache-2.0
// Entry point of every test program, for Catch2 version 2 and 3 alike.
#define CATCH_CONFIG_RUNNER
#include "tests/support/catch.h"

int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }
