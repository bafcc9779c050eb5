// SPDX-License-Identifier: Apache-2.0
// A task: the operator to speed up, as data (tasks/<task>/task.json and reference.cu).
//
// A task names dims, tensors over them, scalars, input families, and three sorts of workloads: `check` (small
// and awkward), `bench` (real serving shapes) and `hold_out` ranges (shapes drawn per run that no model ever
// sees). The file format is documented in docs/tasks.md; `load_task` is its only reader.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/json.h"

namespace kernelites {

/// Element types of tensors and scalars. Stored; append only.
enum class Dtype { f16, bf16, f32, f64, e4m3, e5m2, i8, u8, i32, i64 };

/// Size of one element in bytes.
std::size_t dtype_bytes(Dtype dtype);
/// "bf16", ...: the same word as in task.json and in `kernelites/plan.cuh`.
const char* dtype_name(Dtype dtype);
/// Inverse of `dtype_name`.
std::optional<Dtype> dtype_from_name(std::string_view name);

/// What a tensor is to the operator.
/// - input: read-only data, filled by an input family;
/// - metadata: read-only device data that the plan never sees (lengths, page tables);
/// - output: written in full by every launch;
/// - inout: restored before every launch, written only inside its declared write set.
enum class Role { input, metadata, output, inout };
const char* role_name(Role role);

/// How values are drawn: a row of the table in fill_kind.h and its parameters.
struct Fill {
  std::string kind;                      ///< "normal", "rising", "lengths_ragged", ...
  std::map<std::string, double> number;  ///< parameters by name; defaults included after loading
  std::string of;  ///< metadata only: the dim that bounds the values, e.g. "S" for lengths
  bool operator==(const Fill&) const = default;
};

/// Of an input: entries along `axis` from `lengths[i]` on belong to nobody, where i is the index in the
/// leading axis. The harness poisons them (NaN included); an operator that reads them is wrong.
struct ValidPrefix {
  std::string axis;     ///< a dim name in the tensor's shape
  std::string lengths;  ///< a metadata tensor of rank 1 over the tensor's leading axis
  bool operator==(const ValidPrefix&) const = default;
};

/// One tensor argument. Dense and row-major over `shape`.
struct TensorSpec {
  std::string name;
  Dtype dtype = Dtype::f32;
  std::vector<std::string> shape;  ///< per axis a dim name, a whole number, or a product: "Hq*D"
  Role role = Role::input;
  std::vector<Fill> fill;  ///< default fill for inputs; for metadata: the contents that are rotated
  std::optional<ValidPrefix> valid;
  std::string meaning;  ///< one line for people and prompts
};

/// One scalar argument, with an odd non-default value so that a forgotten scale shows.
struct ScalarSpec {
  std::string name;
  Dtype dtype = Dtype::f32;
  double value = 0;
  std::string meaning;
};

/// A named dim; constant dims are `static constexpr` members of `Problem`.
struct DimSpec {
  std::string name;
  std::optional<std::int64_t> constant;
  std::string meaning;
};

/// A binding of all variable dims.
struct Workload {
  std::string name;
  std::map<std::string, std::int64_t> dims;  ///< constants included after loading
  double weight = 1.0;                       ///< in the score: weight of log speed-up (bench only)
  std::string source;                        ///< where the shape comes from (bench only)
};

/// Inclusive ranges of the variable dims from which hold-out workloads are drawn.
struct HoldOutRange {
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> dims;
};

/// Limits on an output row's error (docs/tasks.md): conjunctive, finite results first, NaN fails.
/// Rows of values (`absolute` == 0): row and element gate, no additive term. Log-sum-exp outputs (`absolute`
/// > 0, `row` and `element_rms` 0): |e_c| <= absolute + u|g_c|. Where the reference is infinite, the result
/// must be the same.
struct Precision {
  std::string name;        ///< "bf16", "fp32", ...
  double row = 0;          ///< R: rms(e)/rms(g) <= R
  double element_ulp = 0;  ///< u: |e_c| <= u|g_c| + E rms(g)
  double element_rms = 0;  ///< E
  double absolute = 0;     ///< A, natural-log units; log-sum-exp outputs only
};

/// A named way to fill all inputs; tensors that it does not mention keep their default fill.
struct InputFamily {
  std::string name;
  std::map<std::string, Fill> fill;            ///< by tensor name
  std::map<std::string, Precision> precision;  ///< by output: gates that replace the task's for this family
  std::string catches;                         ///< which error it makes visible
};

/// Formulas over the dims (and, for metadata, `sum_<tensor>`): counts of one call.
struct Roofline {
  std::string flops;         ///< floating-point operations
  std::string bytes;         ///< compulsory device-memory bytes
  std::string exponentials;  ///< MUFU operations, "0" if none
};

/// Everything about an operator. Immutable after loading.
struct Task {
  std::string name;
  std::string title;
  std::string formula;
  std::string source;
  std::string family;
  std::vector<DimSpec> dims;
  std::vector<ScalarSpec> scalars;
  std::vector<TensorSpec> tensors;
  std::vector<std::string> rows;  ///< leading dims that every output shares: one row of the reference
  std::map<std::string, Precision> precision;  ///< by output tensor
  std::vector<InputFamily> families;
  std::vector<Workload> check;
  std::vector<Workload> bench;
  std::vector<HoldOutRange> hold_out;
  Roofline roofline;
  Json baselines;  ///< as written: which external kernels compare (docs/tasks.md)

  std::string reference_source;  ///< text of reference.cu
  Json document;                 ///< task.json as read, for a self-contained request
  std::string digest;            ///< over task.json and reference.cu
  std::filesystem::path folder;  ///< where it was read from; empty when it came in a request

  const TensorSpec& tensor(std::string_view name) const;
  const Workload* find_workload(std::string_view name) const;
};

/// Reads `<folder>/task.json` and `<folder>/reference.cu`. Throws ConfigError.
Task load_task(const std::filesystem::path& folder);
/// The same from texts, as they travel in a request. `where` names the document in errors.
Task parse_task(const Json& document, std::string reference_source, const std::string& where);
/// Names of the folders under `root` that hold a task.json, sorted.
std::vector<std::string> list_tasks(const std::filesystem::path& root);

/// The gates of `output` when its inputs come from `family`. REQUIRES: `output` is an output of `task`.
const Precision& precision_of(const Task& task, const InputFamily& family, const std::string& output);

/// The extents of `tensor` in `workload`.
std::vector<std::int64_t> tensor_shape(const TensorSpec& tensor, const Workload& workload);
/// Product of the extents.
std::int64_t element_count(const TensorSpec& tensor, const Workload& workload);
/// Number of output rows: the product of `task.rows`.
std::int64_t row_count(const Task& task, const Workload& workload);

/// What one call must do at least.
struct RooflineCounts {
  double flops = 0;
  double bytes = 0;
  double exponentials = 0;
};

/// The task's roofline formulas at `workload`. `sums` are the sums of metadata tensors by name; a tensor that
/// is not in it counts as full: every entry at its bound.
RooflineCounts roofline_counts(const Task& task, const Workload& workload,
                               const std::map<std::string, double>& sums = {});

}  // namespace kernelites
