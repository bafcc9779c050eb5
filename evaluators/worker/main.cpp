// SPDX-License-Identifier: Apache-2.0
// The worker's entry point.
int main() { return 2; }
