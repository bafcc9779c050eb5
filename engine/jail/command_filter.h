// SPDX-License-Identifier: Apache-2.0
// The system calls that a jailed command does without, as a program for the kernel that is made before fork.
#pragma once

#include <cstdint>
#include <vector>

namespace kernelites {

/// One instruction, as struct sock_filter has it.
struct FilterInstruction {
  std::uint16_t code = 0;
  std::uint8_t jump_true = 0;
  std::uint8_t jump_false = 0;
  std::uint32_t value = 0;
};

/// Denied: other processes' memory, mounts, namespaces, kernel interfaces, keyrings, io_uring, local sockets by name
/// (through which daemons act for a caller) and, without network, every socket. Throws Error.
std::vector<FilterInstruction> make_command_filter(bool allows_network);

/// Puts the filter in force for the calling thread; allocates nothing. REQUIRES: no_new_privs. 0, or an errno.
int enforce_command_filter(const std::vector<FilterInstruction>& filter);

}  // namespace kernelites
