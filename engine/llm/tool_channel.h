// SPDX-License-Identifier: Apache-2.0
// Tools for a program in a jail: it asks through files in its scratch folder, and the run answers.
//
// Format of <scratch>/.kernelites:
//   channel.json         {"version": 1, "token": "<hex>", "tools": [{"name", "description", "parameters": "<schema>"}]}
//   requests/<id>.json   {"version": 1, "token": "<hex>", "name": "check", "arguments": "<JSON text>"}
//   replies/<id>.json    {"version": 1, "text": "...", "is_error": false}
// Both sides write <id>.tmp and rename. An id has letters, digits, '-' and '_'. A request is removed when it is
// answered.
// The token keeps a request apart that was meant for another session; it protects no secret: whoever can write the
// folder may ask, and all that can be asked for is what the prompt could show.
//
// The folder belongs to a program that is not trusted: the run reads through descriptors that it opened itself, follows
// no link, and reads only plain files of limited size.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "engine/llm/endpoint.h"

namespace kernelites {

inline constexpr const char* k_tool_channel_folder = ".kernelites";
inline constexpr std::size_t k_tool_request_bytes_max = 1024 * 1024;
/// Requests that one session may make.
inline constexpr int k_tool_requests_max = 2000;

/// The run's side.
class ToolChannel {
 public:
  /// Makes the folder in `scratch` with channel.json. Throws Error if that fails.
  ToolChannel(const std::filesystem::path& scratch, std::string token, const std::vector<ToolSpec>& tools);
  ~ToolChannel();
  ToolChannel(const ToolChannel&) = delete;

  /// The next request that was not returned, if there is one; never blocks. What is no request is answered as an error.
  std::optional<ToolCall> poll();
  /// Answers a request that `poll` returned. False if the program has made that impossible.
  bool answer(const std::string& id, std::string_view text, bool is_error);

 private:
  std::string read_request(const std::string& name) const;
  std::vector<std::string> new_requests() const;

  std::string token_;
  int requests_ = -1;  // descriptors of the folders
  int replies_ = -1;
  int polled_ = 0;
  std::set<std::string> returned_;  ///< and not answered, or not to be removed
};

}  // namespace kernelites
