// SPDX-License-Identifier: Apache-2.0
// What a cubin says without a driver: resources per kernel, parameter sizes, module data, undefined symbols.
//
// A cubin is an ELF64 file. `.nv.info` and `.nv.info.<kernel>` hold attribute records {format, attribute,
// size or value, payload}; the attribute numbers are NVIDIA's (EIATTR_*), undocumented but stable since
// Volta. The file comes out of a jailed child that may have been taken over, so every offset is checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace kernelites::worker {

struct CubinKernel {
  int registers = 0;
  std::int64_t frame_bytes = 0;          ///< local memory per thread
  std::int64_t static_shared_bytes = 0;  ///< what the hardware reserves included
  std::int64_t code_bytes = 0;
  int threads_max = 0;       ///< .maxntid product; 0: none
  int threads_required = 0;  ///< .reqntid product; 0: none
  std::vector<std::int64_t> parameter_bytes;
  std::string code;  ///< raw bytes of its text section
};

/// A variable in device memory (.nv.global, .nv.global.init).
struct CubinVariable {
  std::string name;  ///< as in the PTX; "$__name__46$1" for one that is declared inside a function
  std::int64_t bytes = 0;
};

struct Cubin {
  std::map<std::string, CubinKernel> kernels;  ///< by name in the module
  std::int64_t writable_bytes = 0;             ///< .nv.global: module data without initialiser
  std::int64_t initialised_bytes = 0;          ///< .nv.global.init
  std::int64_t constant_bytes = 0;             ///< user constants (.nv.constant3)
  std::string constant_data;  ///< raw bytes of initialised data and user constants, for the digest
  std::vector<CubinVariable> variables;
  std::vector<std::string> undefined_symbols;
  std::string
      unknown_section;  ///< the first that takes memory on the device and is of no known kind; mostly empty
};

/// Empty if `bytes` is no well-formed cubin.
std::optional<Cubin> parse_cubin(std::span<const std::byte> bytes);

}  // namespace kernelites::worker
