// SPDX-License-Identifier: Apache-2.0
// The program's side of a tool channel: what `kernelites agent-tools` does inside a coding agent's scratch folder.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/llm/endpoint.h"

namespace kernelites {

/// What came back of a tool call.
struct ToolResult {
  std::string text;
  bool is_error = false;
};

class ToolClient {
 public:
  /// `folder` is the channel's (".kernelites"). Throws ConfigError if there is no channel.
  explicit ToolClient(std::filesystem::path folder);
  const std::vector<ToolSpec>& tools() const { return tools_; }
  /// Asks and waits, at most `deadline`; then the result is an error that says so.
  ToolResult call(const std::string& name, const std::string& arguments, std::chrono::milliseconds deadline);

 private:
  std::filesystem::path folder_;
  std::string token_;
  std::vector<ToolSpec> tools_;
  int calls_ = 0;
};

}  // namespace kernelites
