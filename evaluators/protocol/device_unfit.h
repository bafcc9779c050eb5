// SPDX-License-Identifier: Apache-2.0
// How a worker says that a request got no result because of its device, so that another worker is asked.
#pragma once

#include <string>
#include <string_view>

#include "evaluators/protocol/protocol.h"

namespace kernelites {

/// `Reply::error` begins with it; why follows. A worker that answers so is quarantined, and the request goes elsewhere.
inline constexpr std::string_view k_device_unfit = "device unfit: ";
/// Follows where the device is well, and heat or somebody else's work is in the way: the worker is soon asked again.
/// `Reply::device_s` is above 0 if the request was evaluated, and spoiled, at all.
inline constexpr std::string_view k_for_now = "for now: ";

inline bool is_device_unfit(const Reply& reply) { return reply.error.starts_with(k_device_unfit); }
inline bool is_device_disturbed(const Reply& reply) {
  return is_device_unfit(reply) &&
         std::string_view(reply.error).substr(k_device_unfit.size()).starts_with(k_for_now);
}

}  // namespace kernelites
