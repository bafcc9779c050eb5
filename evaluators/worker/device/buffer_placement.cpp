// SPDX-License-Identifier: Apache-2.0
// The arithmetic of placing a buffer in its mapping.
#include "engine/core/error.h"
#include "evaluators/worker/device/device.h"

namespace kernelites::worker {

Buffer placed(const Buffer& buffer, Placement placement, std::int64_t alignment) {
  KERNELITES_ASSERT(alignment > 0 && (alignment & (alignment - 1)) == 0);
  Buffer result = buffer;
  // Mappings begin at a page of the device, which is aligned better than anything that is promised.
  const std::int64_t room = buffer.mapped_bytes - buffer.bytes;
  std::int64_t offset = 0;
  if (placement == Placement::end) offset = room & ~(alignment - 1);
  if (placement == Placement::amid) {
    // The odd multiple of the alignment nearest to the middle of the room.
    offset = (room / 2) & ~(alignment - 1);
    if ((offset & alignment) == 0) offset += offset + alignment <= room ? alignment : -alignment;
  }
  if (offset >= 0 && offset <= room)
    result.address = buffer.mapped_address + static_cast<std::uint64_t>(offset);
  return result;
}

}  // namespace kernelites::worker
