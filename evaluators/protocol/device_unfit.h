// SPDX-License-Identifier: Apache-2.0
// How a worker says that a request got no result because of its device, so that another worker is asked.
#pragma once

#include <string>
#include <string_view>

#include "evaluators/protocol/protocol.h"

namespace kernelites {

/// `Reply::error` begins with it; why follows. A worker that answers so is quarantined, and the request goes elsewhere.
inline constexpr std::string_view k_device_unfit = "device unfit: ";

inline bool is_device_unfit(const Reply& reply) { return reply.error.starts_with(k_device_unfit); }

}  // namespace kernelites
