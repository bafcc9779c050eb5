// SPDX-License-Identifier: Apache-2.0
// Tensors on the host: elements as numbers, and indices along axes. For small shapes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/core/task.h"

namespace kernelites::worker {

/// Bytes of one tensor.
using TensorBytes = std::vector<std::byte>;

/// Whether elements of this type may be NaN.
bool is_floating(Dtype dtype);
/// Element `index` as a number.
double element_value(Dtype dtype, std::span<const std::byte> bytes, std::size_t index);
/// Writes the nearest value of the type; NaN where the type has one.
void set_element(Dtype dtype, std::span<std::byte> bytes, std::size_t index, double value);
/// All elements.
std::vector<double> element_values(Dtype dtype, std::span<const std::byte> bytes);

/// Contents of a metadata tensor (i32), and back.
std::vector<std::int32_t> whole_values(std::span<const std::byte> bytes);
TensorBytes bytes_of_whole(std::span<const std::int32_t> values);

/// Indices along the axes of a row-major shape, slowest first.
using Indices = std::vector<std::int64_t>;
std::size_t flat_index(const Indices& shape, const Indices& indices);
/// Calls `visit(flat, indices)` for every element of `shape` in order.
void for_each_element(const Indices& shape, const std::function<void(std::size_t, const Indices&)>& visit);

/// The tensor of shape `shape` whose element at `indices` is that of `from` (shape `from_shape`) at source(indices).
TensorBytes gathered(std::size_t element_bytes, const Indices& shape, std::span<const std::byte> from,
                     const Indices& from_shape, const std::function<Indices(const Indices&)>& source);

}  // namespace kernelites::worker
