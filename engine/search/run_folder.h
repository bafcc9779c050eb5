// SPDX-License-Identifier: Apache-2.0
// The one place that knows how a run folder is laid out.
#pragma once

#include <filesystem>

namespace kernelites {

/// Paths in a run folder. Copies of a path, no state.
struct RunFolder {
  std::filesystem::path root;

  std::filesystem::path database() const { return root / "run.db"; }
  std::filesystem::path events() const { return root / "events.jsonl"; }
  std::filesystem::path steering() const {
    return root / "steer.json";
  }  ///< written by a person, see steering.h
  std::filesystem::path worker_log() const { return root / "worker.log"; }
  std::filesystem::path spool() const { return root / "spool"; }
  std::filesystem::path replies() const { return root / "replies.json"; }  ///< of a forked run: its source's
  std::filesystem::path batches() const { return root / "batches"; }
};

}  // namespace kernelites
