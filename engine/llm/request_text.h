// SPDX-License-Identifier: Apache-2.0
// A request as files for those who answer outside: a person, a script, a coding agent.
#pragma once

#include <string>

#include "engine/llm/endpoint.h"

namespace kernelites {

/// Letters, digits, '-' and '_', at most 64: it can be a file's name.
bool is_file_safe(const std::string& id);

/// The format of requests/<id>.json in spool_endpoint.h.
std::string request_json(const ModelRequest& request, const std::string& digest);
/// The conversation to be read, each part under a comment that says whose it is.
std::string request_markdown(const ModelRequest& request);

}  // namespace kernelites
