// SPDX-License-Identifier: Apache-2.0
// What must not leave the machine with a data set: keys, and anything that names a hidden shape.
#pragma once

#include <string>
#include <vector>

#include "engine/core/json.h"
#include "engine/llm/api_key.h"

namespace kernelites {

/// Values of the keys that a run's configuration names by environment variable ("api_key_env"; of "environment" those
/// whose names speak of a key, token, secret, password or credential) or file ("api_key_file"), and of the two that
/// `openai:` and `anthropic:` stand for; those that are not here are left out.
std::vector<std::string> keys_named_in(const Json& configuration, const SecretSource& source);

/// `text` without `secrets`, without words that have the form of a well-known key or of a bearer token, and without
/// private keys, each of which becomes "[secret]". Names of hidden shapes, which no text of a run should hold, become
/// "[hidden]".
std::string redacted(std::string text, const std::vector<std::string>& secrets);
/// The same for every string of a document, keys of objects excepted.
void redact(Json& json, const std::vector<std::string>& secrets);

}  // namespace kernelites
