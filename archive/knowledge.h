// SPDX-License-Identifier: Apache-2.0
// The knowledge file: effects that outlive runs (archive/knowledge.sql), and their copy inside a run.
//
// A file is a set that only grows: runs add what they measured, files are joined in any order and as often as one
// likes, and what was added twice is there once. A run reads it once, at its start, and keeps what it read, so that
// its prompts can be repeated whatever becomes of the file.
#pragma once

#include <filesystem>

#include "archive/database.h"
#include "engine/core/effect.h"

namespace kernelites {

/// More effects than this are too many to be read at a run's start.
inline constexpr std::size_t k_effects_max = 200'000;

class Knowledge {
 public:
  /// Opens for writing; makes the file if there is none. Throws ConfigError, and changes nothing, if it is no
  /// knowledge file or of a newer version.
  static Knowledge open(const std::filesystem::path& file);
  /// Throws ConfigError also if there is no such file.
  static Knowledge open_read_only(const std::filesystem::path& file);

  /// Everything in it. Throws ConfigError that names the row if one is not what an effect is.
  EffectSet read() const;
  /// Joins `more` into the file in one transaction. Returns how many effects are new.
  std::size_t join(const EffectSet& more);

 private:
  explicit Knowledge(Database database) : database_(std::move(database)) {}
  mutable Database database_;
};

}  // namespace kernelites
