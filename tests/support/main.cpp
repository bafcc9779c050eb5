// SPDX-License-Identifier: Apache-2.0
// Entry point of the test programs that have none of their own.
#include "tests/support/run_catch.h"

int main(int argc, char** argv) { return kernelites::run_catch(argc, argv); }
