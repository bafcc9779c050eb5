// SPDX-License-Identifier: Apache-2.0
// Tasks out of FlashInfer-Bench's files: a definition (JSON) and workloads (JSON Lines), for operators that we have.
//
// A definition names an operator by `op_type`, its axes (constant ones with a value) and typed inputs and outputs; a
// workload binds the variable axes. The task of the same operator is taken with its reference, gates, families and
// seeds, and gets the definition's shapes. Layouts that differ are told as remarks.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/core/json.h"
#include "tools/data_root.h"

namespace kernelites {

/// What an import gives.
struct FlashinferTask {
  std::string operation;             ///< the task of ours whose folder it takes over
  Json document;                     ///< its task.json, renamed, with other bench shapes
  std::vector<std::string> remarks;  ///< one sentence each: what is different from the definition
};

/// At most so many bench shapes are made of workloads; of more, some of all sizes are taken.
inline constexpr std::size_t k_flashinfer_shapes_max = 8;

/// Reads one definition and any number of workloads from `files`; without workloads the task keeps its shapes as far as
/// the constant axes let it. Throws ConfigError naming file, field and what was expected.
FlashinferTask import_flashinfer(const std::vector<std::filesystem::path>& files, const std::string& name,
                                 const DataRoot& data);

}  // namespace kernelites
