// SPDX-License-Identifier: Apache-2.0
// The file of recorded outputs: JSON, one line per snippet, outputs in hex; inputs are drawn anew from their seeds.
// A predicate takes one bit per lane in the file.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/vgpu/recorded/recorded_snippet.h"

namespace kernelites::recorded {

struct RecordedOutput {
  std::string source;  ///< `source_digest` of the snippet when it was recorded
  std::vector<std::byte> packed;
};

struct Recording {
  std::string device, date;
  int driver_version = 0;
  std::map<std::string, RecordedOutput> outputs;  ///< by snippet name
};

/// Outputs as a file holds them, and back. REQUIRES: `bytes` come from this snippet; unpacking something else gives
/// nothing.
std::vector<std::byte> pack_outputs(const Snippet& snippet, const std::vector<std::byte>& bytes);
std::vector<std::byte> unpack_outputs(const Snippet& snippet, const std::vector<std::byte>& packed);

/// Eight hex digits that change with a snippet's PTX or inputs.
std::string source_digest(const Snippet& snippet);

/// Throws Error if the file cannot be read or written, or is no recording.
Recording read_recording(const std::filesystem::path& path);
void write_recording(const std::filesystem::path& path, const Recording& recording);

}  // namespace kernelites::recorded
