// SPDX-License-Identifier: Apache-2.0
// Contents of metadata tensors (lengths, offsets, page tables), drawn on the host, and what they say about inputs.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/core/digest.h"
#include "engine/core/task.h"

namespace kernelites::worker {

/// By tensor name.
using MetadataContents = std::map<std::string, std::vector<std::int32_t>>;

/// The `rotation`-th contents of all metadata tensors that the host draws. Throws Error if they do not fit together.
MetadataContents draw_metadata(const Task& task, const Workload& workload, std::size_t rotation,
                               const Key& key);

/// Sums by tensor, as roofline formulas name them.
std::map<std::string, double> metadata_sums(const MetadataContents& metadata);

/// Whose tokens an index of a tensor's leading axis holds. Mirrored in harness/fill.cu.
struct LeadingEntry {
  std::int32_t owner = 0;  ///< the sequence; below 0: none
  std::int32_t start = 0;  ///< its token that comes first here
  std::int32_t count = 0;  ///< tokens of the sequence
  std::int32_t valid = 0;  ///< how many of the tokens here belong to a sequence
  bool operator==(const LeadingEntry&) const = default;
};

/// One entry for each index of the leading axis. REQUIRES: `tensor.valid`.
std::vector<LeadingEntry> leading_map(const Task& task, const TensorSpec& tensor, const Workload& workload,
                                      const MetadataContents& metadata);

}  // namespace kernelites::worker
