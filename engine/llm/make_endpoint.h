// SPDX-License-Identifier: Apache-2.0
// From a checked configuration to a working endpoint, and the question at start whether anyone answers.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/embedded_file.h"
#include "engine/llm/api_key.h"
#include "engine/llm/endpoint_config.h"

namespace kernelites {

/// What endpoints are made of besides their configuration.
struct EndpointContext {
  HttpLoop& http;  ///< outlives the endpoint
  Clock clock;
  std::uint64_t seed = 0;                ///< of the run: jitter
  std::filesystem::path run_folder;      ///< home of the default spool
  std::vector<EmbeddedFile> recordings;  ///< the program's own
  /// Reads a secret from the environment by name.
  SecretSource secret = environment_secret;

  static std::optional<std::string> environment_secret(const std::string& name);
};

/// Makes the endpoint. Throws ConfigError for a missing key or recording and for a command that cannot be jailed, Error
/// for a folder that cannot be made.
std::unique_ptr<Endpoint> make_endpoint(const EndpointConfig& config, EndpointContext context);

/// The key of a model server, or "" where none is wanted. Throws ConfigError, without the key.
std::string read_key(const HttpEndpointSettings& settings, const std::string& where,
                     const EndpointContext& context);

/// Blocks until a request that has a total deadline is answered or has failed.
HttpResponse wait_for(HttpLoop& http, HttpId id);

/// Asks an HTTP endpoint for its list of models, once, within `timeout`, blocking: for the start of a run.
/// Throws ConfigError saying in one sentence what is wrong. A server without such a list, and any other kind
/// of endpoint, passes; of a fallback order one must pass.
void probe_endpoint(const EndpointConfig& config, EndpointContext context,
                    std::chrono::milliseconds timeout = std::chrono::seconds(15));

}  // namespace kernelites
