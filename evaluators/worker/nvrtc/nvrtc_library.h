// SPDX-License-Identifier: Apache-2.0
// NVRTC as a library opened at run time: found on a search list, pinned by absolute path so that it works in
// a jail.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace kernelites::worker {

/// A CUDA toolkit as far as the worker needs it: NVRTC's two libraries and the include folders.
struct Toolkit {
  std::filesystem::path library;                       ///< libnvrtc.so.N, absolute
  std::filesystem::path builtins;                      ///< libnvrtc-builtins.so.N.M beside it; may be empty
  std::vector<std::filesystem::path> include_folders;  ///< cuda_bf16.h, and cccl where it exists
  std::string version;                                 ///< "NVRTC 13.0"
};

/// Where to look for a toolkit, first match wins: `explicit_folder` (the --toolkit option; nothing else is
/// tried if it is set), /usr/local/cuda, each of `further_folders`, `.deps/cuda` of the checkout that this program
/// was built in (what tools/setup filled from wheels), then the dynamic linker's own list. A folder may be laid
/// out as a toolkit (lib64, include) or as wheels are (lib, include, or cu13/lib, cu13/include, or one folder
/// per component).
struct ToolkitSearch {
  std::filesystem::path explicit_folder;
  std::vector<std::filesystem::path> further_folders;
};

/// Throws Error that lists where it looked if there is no usable NVRTC.
Toolkit find_toolkit(const ToolkitSearch& search);

/// NVRTC's entry points, resolved. The declarations are ours: no CUDA header is needed to build.
struct NvrtcLibrary {
  using Program = void*;
  int (*version)(int* major, int* minor) = nullptr;
  const char* (*error_string)(int result) = nullptr;
  int (*create_program)(Program*, const char* source, const char* name, int headers, const char* const* texts,
                        const char* const* names) = nullptr;
  int (*destroy_program)(Program*) = nullptr;
  int (*compile_program)(Program, int options, const char* const* values) = nullptr;
  int (*add_name_expression)(Program, const char* name) = nullptr;
  int (*lowered_name)(Program, const char* name, const char** lowered) = nullptr;
  int (*log_size)(Program, std::size_t*) = nullptr;
  int (*log)(Program, char*) = nullptr;
  int (*ptx_size)(Program, std::size_t*) = nullptr;
  int (*ptx)(Program, char*) = nullptr;
  int (*cubin_size)(Program, std::size_t*) = nullptr;
  int (*cubin)(Program, char*) = nullptr;
};

/// Opens the toolkit's NVRTC for the rest of the process's life. Throws Error with the linker's words.
NvrtcLibrary open_nvrtc(const Toolkit& toolkit);

}  // namespace kernelites::worker
