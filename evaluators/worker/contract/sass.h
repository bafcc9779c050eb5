// SPDX-License-Identifier: Apache-2.0
// Which machine instructions a kernel consists of: what ptxas made of it, where PTX only says what was asked for.
//
// An instruction is 16 bytes from sm_70 on; its low nine bits name the operation (bits 9 to 11 say where the operands
// come from). NVIDIA does not document the numbers: they were read off nvdisasm's listings of some 200 cubins for
// sm_80, sm_89 and sm_90a, where the nine bits never meant two mnemonics of one architecture but for those named below.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace kernelites::worker {

/// Occurrences by mnemonic without its suffixes ("HGMMA", "UTMALDG", "LDG"). Operations that are not in the table count
/// as "op_0x1e3". Bytes behind the last whole instruction are ignored.
std::map<std::string, std::int64_t> count_sass(std::string_view code);

}  // namespace kernelites::worker
