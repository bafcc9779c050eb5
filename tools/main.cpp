// SPDX-License-Identifier: Apache-2.0
// The command line of the controller.
int main() { return 2; }
