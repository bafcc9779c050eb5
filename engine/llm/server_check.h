// SPDX-License-Identifier: Apache-2.0
// The checks of a model server, one request each and no second tries.
#pragma once

#include "engine/llm/endpoint_check.h"

namespace kernelites {

/// Asks for one word.
ModelRequest tiny_request();

std::vector<EndpointCheck> check_server(const HttpEndpointSettings& settings, const std::string& where,
                                        const EndpointContext& context, std::chrono::milliseconds timeout);

}  // namespace kernelites
