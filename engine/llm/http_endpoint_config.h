// SPDX-License-Identifier: Apache-2.0
// The configuration of a model server behind HTTP; what its keys are is told in endpoint_config.h.
#pragma once

#include <filesystem>
#include <string>

#include "engine/core/json.h"
#include "engine/llm/http_endpoint.h"

namespace kernelites {

/// Both leave `finish` to the caller. Throw ConfigError. Relative paths start at `folder`.
HttpEndpointSettings parse_openai(ObjectReader& reader, const std::filesystem::path& folder);
HttpEndpointSettings parse_anthropic(ObjectReader& reader, const std::filesystem::path& folder);

/// The JSON that a short form stands for: MODEL or MODEL@BASE_URL, the latter without a key.
Json openai_document(const std::string& argument);
Json anthropic_document(const std::string& argument);

}  // namespace kernelites
