// SPDX-License-Identifier: Apache-2.0
// Which elements of an output make a row, and which of them are gated together.
#include "evaluators/worker/pipeline/compare.h"

#include <algorithm>
#include <numeric>

#include "engine/core/error.h"

namespace kernelites::worker {
namespace {

/// What one running float sum of many positive terms may lose with each of them, in log-sum-exp units: terms below half
/// a unit in its last place. More than the worst of emulated sums (docs/tasks.md).
constexpr double k_loss_per_term = 0x1p-28;

/// Codes in one element.
std::int64_t codes_in(const TensorSpec& output, const Precision& gates) {
  return gates.bits > 0 ? static_cast<std::int64_t>(8 * dtype_bytes(output.dtype)) / gates.bits : 1;
}

/// Strides of the axes, in codes.
std::vector<std::int64_t> code_strides(const std::vector<std::int64_t>& shape, std::int64_t codes) {
  std::vector<std::int64_t> strides(shape.size(), 1);
  for (std::size_t axis = shape.size(); axis-- > 1;)
    strides[axis - 1] = strides[axis] * shape[axis] * (axis + 1 == shape.size() ? codes : 1);
  return strides;
}

void set_rows(CompareOrder& order, const Task& task, const TensorSpec& output, const Workload& workload,
              const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides) {
  const auto& rows = output.rows.empty() ? task.rows : output.rows;
  for (const std::string& dim : rows) {
    const auto found = std::find_if(output.shape.begin(), output.shape.end(), [&](const std::string& axis) {
      return axis == dim || axis.starts_with(dim + "*");
    });
    const auto axis = static_cast<std::size_t>(found - output.shape.begin());
    const std::int64_t extent = workload.dims.at(dim);
    order.row[order.row_rank++] = {
        .extent = extent, .out = strides[axis] * (shape[axis] / extent), .gold = 0};
  }
}

/// The axes beside the rows, in their order, with their strides within a row of the reference.
std::vector<CompareAxis> columns_of(const std::vector<ColumnAxis>& columns, const Workload& workload,
                                    const std::vector<std::int64_t>& strides, std::int64_t codes) {
  std::vector<CompareAxis> axes;
  for (const ColumnAxis& column : columns)
    axes.push_back({.extent = whole_number(column.extent, workload), .out = strides[column.axis], .gold = 1});
  if (!axes.empty() && columns.back().axis + 1 == strides.size()) axes.back().extent *= codes;
  for (std::size_t i = axes.size(); i-- > 1;) axes[i - 1].gold = axes[i].gold * axes[i].extent;
  return axes;
}

void set_gates(CompareOrder& order, const Precision& gates) {
  order.compare = static_cast<std::int32_t>(gates.compare);
  order.bits = static_cast<std::int32_t>(gates.bits);
  order.is_signed = gates.is_signed ? 1 : 0;
  order.is_ordered = gates.is_ordered ? 1 : 0;
  order.row_gate = gates.row;
  order.ulp = gates.element_ulp;
  order.rms_factor = gates.element_rms;
  order.absolute = gates.absolute;
  order.emulated_factor = gates.emulated;
  order.distance = gates.distance;
  order.tie = gates.tie;
  order.tie_rms = gates.tie_rms;
}

}  // namespace

CompareOrder compare_order(const Task& task, const TensorSpec& output, const Precision& gates,
                           const Workload& workload) {
  CompareOrder order;
  order.dtype = static_cast<std::int32_t>(output.dtype);
  set_gates(order, gates);
  if (gates.compare == Compare::log_sum_exp && !gates.over.empty())
    order.absolute += k_loss_per_term * static_cast<double>(whole_number(gates.over, workload));
  const std::int64_t codes = codes_in(output, gates);
  const std::vector<std::int64_t> shape = tensor_shape(output, workload);
  const std::vector<std::int64_t> strides = code_strides(shape, codes);
  set_rows(order, task, output, workload, shape, strides);
  const std::vector<ColumnAxis> columns = column_axes(task, output);
  const std::vector<CompareAxis> axes = columns_of(columns, workload, strides, codes);
  order.columns = 1;
  for (const CompareAxis& axis : axes) order.columns *= axis.extent;
  if (gates.compare == Compare::selection) {
    order.chosen = order.columns;
    order.columns = whole_number(gates.over, workload);
  }
  std::vector<bool> is_per(axes.size(), false);
  for (const std::string& name : gates.per) {
    for (std::size_t i = 0; i < axes.size(); ++i) {
      if (columns[i].extent != name || is_per[i]) continue;
      is_per[i] = true;
      const std::int64_t step = order.per_rank == 0 ? gates.tile : 1;
      order.parts *= (axes[i].extent + step - 1) / step;
      order.per[order.per_rank++] = axes[i];
      break;
    }
  }
  order.tile = gates.tile;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (!is_per[i]) order.inner[order.inner_rank++] = axes[i];
  }
  return order;
}

std::vector<double> as_reference_rows(const CompareOrder& order, std::span<const double> values) {
  std::int64_t total = 1;
  for (int a = 0; a < order.row_rank; ++a) total *= order.row[a].extent;
  std::vector<std::int64_t> all(static_cast<std::size_t>(total));
  std::iota(all.begin(), all.end(), 0);
  return listed_rows(order, values, all);
}

std::vector<double> listed_rows(const CompareOrder& order, std::span<const double> values,
                                const std::vector<std::int64_t>& rows) {
  std::vector<double> listed(rows.size() * static_cast<std::size_t>(order.columns));
  std::vector<CompareAxis> axes(order.per, order.per + order.per_rank);
  axes.insert(axes.end(), order.inner, order.inner + order.inner_rank);
  for (std::size_t place = 0; place < rows.size(); ++place) {
    std::int64_t base = 0, rest = rows[place];
    for (int a = order.row_rank; a-- > 0; rest /= order.row[a].extent)
      base += rest % order.row[a].extent * order.row[a].out;
    for (std::int64_t i = 0; i < order.columns; ++i) {
      std::int64_t out = base, gold = static_cast<std::int64_t>(place) * order.columns, left = i;
      for (std::size_t a = axes.size(); a-- > 0; left /= axes[a].extent) {
        out += left % axes[a].extent * axes[a].out;
        gold += left % axes[a].extent * axes[a].gold;
      }
      if (out < 0 || out >= static_cast<std::int64_t>(values.size())) throw Error("a listed row is none");
      listed.at(static_cast<std::size_t>(gold)) = values[static_cast<std::size_t>(out)];
    }
  }
  return listed;
}

}  // namespace kernelites::worker
