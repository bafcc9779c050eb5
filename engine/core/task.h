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
  std::string kind;                            ///< "normal", "rising", "lengths_ragged", ...
  std::map<std::string, double> number;        ///< parameters by name; defaults included after loading
  std::map<std::string, std::string> formula;  ///< parameters given as formulas over dims and scalars
  std::string of;       ///< metadata only: the dim that bounds the values, e.g. "S" for lengths
  std::string lengths;  ///< metadata only: the lengths from which offsets and page tables follow
  bool operator==(const Fill&) const = default;
};

/// Of an input: which of its entries belong to a sequence. The harness poisons all others (NaN included), lets trends
/// along the tokens follow the sequences, and an operator that reads poison into a result is wrong. One of three forms:
/// - `axis`, `lengths`: entries along `axis` from lengths[i] on belong to nobody, i the index of the leading axis;
/// - `table`, `lengths`: the leading axis counts pages, the next one slots of a page; table[b, j] is the page that
///   holds the tokens of sequence b from j * slots on. Pages that no sequence uses belong to nobody;
/// - `offsets`: the leading axis is packed: sequence b holds entries offsets[b] to offsets[b + 1] - 1.
struct ValidPart {
  std::string axis;
  std::string lengths;
  std::string table;
  std::string offsets;
  bool operator==(const ValidPart&) const = default;
};

/// One tensor argument. Dense and row-major over `shape`.
struct TensorSpec {
  std::string name;
  Dtype dtype = Dtype::f32;
  std::vector<std::string> shape;  ///< per axis a formula over dims: "D", "Hq*D", "B+1", "cdiv(S, 16)"
  Role role = Role::input;
  std::vector<Fill> fill = {};  ///< default fill for inputs; for metadata: the contents that are rotated
  std::optional<ValidPart> valid = {};
  std::string along = {};              ///< the axis that counts tokens; empty: the second, or the only one
  std::string heads = {};              ///< the axis that counts heads; empty: there is none
  std::vector<std::string> rows = {};  ///< outputs only: rows of its own instead of the task's
  std::string meaning = {};            ///< one line for people and prompts
};

/// Whether the task's own kernel fills it (kind "computed").
bool is_computed(const TensorSpec& tensor);

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

/// How an output is compared with its reference (docs/tasks.md).
/// - values: row and element gate, no additive term;
/// - log_sum_exp: absolute gate in natural-log units;
/// - selection: indices of the best of a row; the reference gives every candidate's score; ties are free;
/// - codes: quantised values as codes, one or several in a byte or word; the reference gives unrounded codes;
/// - bitmap: bits in words; the reference gives a margin per bit, and bits of small margin are free;
/// - exact: every element equals the reference.
enum class Compare { values, log_sum_exp, selection, codes, bitmap, exact };
const char* compare_name(Compare compare);

/// Limits on an output row's error: conjunctive, finite results first, NaN fails. Where the reference is infinite, the
/// result must be the same.
struct Precision {
  std::string name;  ///< "bf16", "fp32", ...: for people
  Compare compare = Compare::values;
  double row = 0;          ///< values: R in rms(e) <= R rms(g)
  double element_ulp = 0;  ///< values, log_sum_exp: u in |e_c| <= u|g_c| + E rms(g) + A
  double element_rms = 0;  ///< values: E
  double absolute = 0;     ///< log_sum_exp: A
  double emulated =
      0;  ///< values: the row gate is at least this many times an emulated honest error; 0: none
  std::vector<std::string> per = {};  ///< further axes each of whose indices has gates of its own
  std::int64_t tile = 1;              ///< so many neighbours along the first axis of `per` are gated as one
  std::string over = {};              ///< selection: how many candidates a row has, a formula
  bool is_ordered = false;            ///< selection: best first
  double tie = 0;      ///< selection: relative to the last chosen score; bitmap: margins up to this are free
  double tie_rms = 0;  ///< selection: relative to the rms of the finite scores
  double distance =
      0;  ///< codes: |code - unrounded code| at most this (floating codes: in units of their last place)
  std::int64_t bits = 0;   ///< codes: width of one code; 0: that of the element type
  bool is_signed = false;  ///< codes: two's complement, where several share an element
};

/// A named way to fill all inputs; tensors that it does not mention keep their default fill.
struct InputFamily {
  std::string name;
  std::map<std::string, Fill> fill;            ///< by tensor name
  std::map<std::string, Precision> precision;  ///< by output: gates that replace the task's for this family
  double hidden =
      0;  ///< > 0: only this share of the (sequence, head) pairs is filled so, all others as by default
  std::string catches;  ///< which error it makes visible
};

/// A relation that holds between the outputs of two or more runs, whatever the reference says (property_kind.h).
struct Property {
  std::string name;
  std::string kind;                         ///< a row of the table in property_kind.h
  std::string family;                       ///< from which the inputs are drawn
  std::vector<std::string> tensors;         ///< inputs that are transformed
  std::vector<std::string> dims;            ///< axes that are permuted, isolated, cropped
  std::map<std::string, double> output;     ///< outputs compared, and the factor by which they change
  std::map<std::string, std::string> word;  ///< further names: "from", "lengths", "table", ...
  std::map<std::string, double> number;     ///< further numbers: "factor", "by", ...
  bool is_exact = false;                    ///< bit for bit, instead of by the outputs' gates
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
  std::vector<std::string>
      rows;  ///< dims that index one row of the reference; an output's shape holds all of them
  std::int64_t sampled_rows = 256;  ///< rows compared at a bench shape, drawn after the candidate ran
  std::map<std::string, Precision> precision;  ///< by output tensor
  std::vector<InputFamily> families;
  std::vector<Property> properties;
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
/// Number of rows of the first group: the product of `task.rows`.
std::int64_t row_count(const Task& task, const Workload& workload);

/// Outputs whose rows are counted by the same dims share a list of rows.
struct RowGroup {
  std::string suffix;             ///< of the reference's `rows` and `R`: empty for the task's own
  std::vector<std::string> dims;  ///< slowest first
};
/// The task's rows first, then those of outputs that have others, in the order of the tensors.
std::vector<RowGroup> row_groups(const Task& task);
/// Index into `row_groups` of an output.
std::size_t row_group_of(const Task& task, const TensorSpec& output);
/// Number of rows of a group.
std::int64_t row_count(const RowGroup& group, const Workload& workload);

/// An axis of an output without its rows: "Hkv*G" without Hkv is "G". Empty: the axis is all row.
struct ColumnAxis {
  std::size_t axis = 0;
  std::string extent;  ///< a formula
};
/// What is left of an output's shape when its row dims are fixed. REQUIRES: `output` is an output of `task`.
std::vector<ColumnAxis> column_axes(const Task& task, const TensorSpec& output);

/// Names that formulas of fills may use: dims and scalars.
std::map<std::string, double> formula_names(const Task& task, const Workload& workload);
/// The value of a formula that must be a whole number of at least 1. Throws Error.
std::int64_t whole_number(const std::string& formula, const Workload& workload);

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
