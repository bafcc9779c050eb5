// SPDX-License-Identifier: Apache-2.0
// Machine code, plans and test data of an export, as the worker's compiler gives them (pipeline/library_order.h).
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/json.h"
#include "tools/exporting/host_proof.h"
#include "tools/exporting/portfolio.h"

namespace kernelites {

/// One arm's code for one architecture.
struct LibraryImage {
  std::string architecture;                    ///< "sm_90a"
  std::string cubin;                           ///< bytes
  std::map<std::string, std::string> lowered;  ///< kernel as plans write it -> symbol
  std::vector<KernelResources> kernels;        ///< of the kernels that plans launch
};

/// A shape that an arm does not take.
struct PlanRefusal {
  int batch = 0;  ///< of the proof; -1: of the tables
  std::size_t shape = 0;
  std::string words;  ///< the plan's own
};

struct ArmCode {
  std::string label;
  std::vector<LibraryImage> images;
  std::vector<std::vector<std::uint64_t>> tables;  ///< words, one plan for each table shape
  PlanDigests proof;                               ///< as constants, by batch and shape
  std::int64_t unsupported = 0;                    ///< of proof and table shapes, by the plan's own word
  std::int64_t invalid = 0;                        ///< whose plan no launch could follow
  std::string first_invalid;
  std::vector<PlanRefusal> refusals;
};

/// The reference of one workload: how many rows it computes, and its plan.
struct ReferencePlanWords {
  std::int64_t rows = 0;
  std::vector<std::uint64_t> words;
};

/// How an input is drawn: bytes of the harness's FillOrder (pipeline/fill.h).
struct InputFill {
  std::string order;
  double unit = 0;
};

/// How an output is compared: bytes of the harness's CompareOrder (pipeline/compare.h), and sizes of what it writes.
struct OutputCompare {
  std::string order;
  std::int64_t columns = 0, parts = 1, chosen = 0;
  bool is_selection = false;
};

struct LibraryCode {
  std::string toolkit;
  std::vector<ArmCode> arms;          ///< in the portfolio's order
  std::vector<LibraryImage> harness;  ///< kernels around a launch, for the export's test and bench
  std::vector<LibraryImage> reference;
  std::map<std::string, ReferencePlanWords>
      reference_plans;  ///< by workload; empty: no test compares with a reference
  /// The task's program for its computed inputs, if it has any, and what it is given: four numbers a draw.
  std::vector<LibraryImage> inputs;
  std::map<std::string, ReferencePlanWords> inputs_plans;
  std::map<std::string, std::vector<std::vector<std::int64_t>>> draws;
  /// By workload and input tensor: a FillOrder of the harness, and the length of its vectors.
  std::map<std::string, std::map<std::string, InputFill>> fills;
  std::map<std::string, std::map<std::string, OutputCompare>> compares;  ///< by workload and output
  /// By workload: contents of the metadata tensors, several draws.
  std::map<std::string, std::vector<std::map<std::string, std::vector<std::int32_t>>>> metadata;
};

struct LibraryOrder {
  const Task& task;
  const Portfolio& portfolio;
  std::vector<std::string> architectures;
  std::vector<Shape> tables;
  std::map<std::string, double> scalars;  ///< of the tables
  std::vector<ProofBatch> proof;
  DeviceFacts device;
  bool has_test = true;  ///< with everything that tests and benches need
};

/// Has `worker` compile everything. Throws Error with its words if it cannot, ConfigError naming the arm if a candidate
/// is refused.
LibraryCode compile_library(const LibraryOrder& order, const std::filesystem::path& worker,
                            const std::string& toolkit);

/// The answer as values; throws Error if it makes no sense.
LibraryCode library_code_from(const Json& answer);

}  // namespace kernelites
