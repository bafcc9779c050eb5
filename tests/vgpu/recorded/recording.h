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
  std::string digest;  ///< of them, where it stands for them: equal or not is all that can be said then
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

/// What stands for packed outputs in a file that shall stay small.
std::string output_digest(const std::vector<std::byte>& packed);
/// How a replayed output compares with what was recorded: empty if well, else what is different.
std::string compare_with(const Snippet& snippet, const RecordedOutput& recorded,
                         const std::vector<std::byte>& bytes);

/// Eight hex digits that change with a snippet's PTX or inputs.
std::string source_digest(const Snippet& snippet);

/// Throws Error if the file cannot be read or written, or is no recording.
Recording read_recording(const std::filesystem::path& path);
void write_recording(const std::filesystem::path& path, const Recording& recording);
/// The recordings of the tests: h100.json, and h100_hopper.json with what only sm_90a has.
Recording read_recordings(const std::filesystem::path& folder);

}  // namespace kernelites::recorded
