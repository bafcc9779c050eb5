// SPDX-License-Identifier: Apache-2.0
// A task as a function of tensors: which arguments it has, where its extents
// come from, what it returns.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/core/task.h"

namespace kernelites {

/// A variable dim: an axis of an argument is it, or it is an argument itself.
struct SignatureDim {
  std::string name;
  std::optional<std::string> tensor;  ///< empty: an argument of its own
  std::size_t axis = 0;
};

struct OperatorSignature {
  std::vector<const TensorSpec*> arguments;  ///< input, metadata and inout, in the task's order
  std::vector<const TensorSpec*> results;    ///< outputs
  std::vector<SignatureDim> dims;            ///< variable ones, in the task's order
};

/// Borrows the task. Throws ConfigError naming the task where a name of it is
/// no name in Python.
OperatorSignature signature_of(const Task& task);

/// "name(Tensor q, Tensor len, *, float scale) -> (Tensor, Tensor)": PyTorch's
/// schema.
std::string torch_schema(const Task& task);
/// The overload "into", which writes its results into tensors of the caller:
/// "name.into(..., Tensor(a!) o) -> ()".
std::string torch_into_schema(const Task& task);
/// "at::kBFloat16".
std::string torch_scalar_type(Dtype dtype);
/// "torch.bfloat16".
std::string torch_python_type(Dtype dtype);

}  // namespace kernelites
