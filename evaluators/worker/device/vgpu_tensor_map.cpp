// SPDX-License-Identifier: Apache-2.0
// Member for member.
#include "evaluators/worker/device/vgpu_tensor_map.h"

#include <cstddef>

namespace kernelites::worker {
namespace {

vgpu::MapElement element_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::f16:
      return vgpu::MapElement::f16;
    case Dtype::bf16:
      return vgpu::MapElement::bf16;
    case Dtype::f32:
      return vgpu::MapElement::f32;
    case Dtype::f64:
      return vgpu::MapElement::f64;
    case Dtype::i32:
      return vgpu::MapElement::int32;
    case Dtype::i64:
      return vgpu::MapElement::int64;
    case Dtype::e4m3:
    case Dtype::e5m2:
    case Dtype::i8:
    case Dtype::u8:
      return vgpu::MapElement::bytes;
  }
  return vgpu::MapElement::bytes;
}

}  // namespace

vgpu::VirtualTensorMap virtual_map(const TensorMap& map, std::uint64_t address) {
  vgpu::VirtualTensorMap result{.address = address,
                                .rank = static_cast<std::uint8_t>(map.rank),
                                .swizzle_bytes = static_cast<std::uint8_t>(map.swizzle_bytes),
                                .element = element_of(map.dtype)};
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(map.rank); ++axis) {
    result.extents[axis] = static_cast<std::uint64_t>(map.extent[axis]);
    result.strides[axis] = static_cast<std::uint64_t>(map.stride_bytes[axis]);
    result.box[axis] = static_cast<std::uint16_t>(map.box[axis]);
    result.steps[axis] = static_cast<std::uint8_t>(map.element_stride[axis]);
  }
  return result;
}

}  // namespace kernelites::worker
