// SPDX-License-Identifier: Apache-2.0
// Writing requests and waiting for replies.
#include "engine/llm/tool_client.h"

#include <fmt/format.h>
#include <unistd.h>

#include <thread>

#include "engine/core/error.h"
#include "engine/core/json.h"

namespace kernelites {
namespace {

constexpr std::chrono::milliseconds k_look_every{50};

}  // namespace

ToolClient::ToolClient(std::filesystem::path folder) : folder_(std::move(folder)) {
  const std::filesystem::path file = folder_ / "channel.json";
  if (!std::filesystem::exists(file))
    throw ConfigError(folder_.string(), "", "there is no channel to a run here (channel.json)");
  const Json document = read_json(file);
  ObjectReader reader(document, file.string());
  if (reader.required<int>("version") != 1) reader.fail("version", "expected 1");
  token_ = reader.required<std::string>("token");
  for (const Json& entry : reader.member("tools")) {
    ObjectReader tool(entry, file.string(), "tools");
    tools_.push_back({.name = tool.required<std::string>("name"),
                      .description = tool.required<std::string>("description"),
                      .parameters = tool.required<std::string>("parameters")});
    tool.finish();
  }
  reader.finish();
}

ToolResult ToolClient::call(const std::string& name, const std::string& arguments,
                            std::chrono::milliseconds deadline) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  const std::string id = fmt::format("{}-{}", getpid(), calls_++);
  write_text_atomically(
      folder_ / "requests" / (id + ".json"),
      Json{{"version", 1}, {"token", token_}, {"name", name}, {"arguments", arguments}}.dump());
  const std::filesystem::path file = folder_ / "replies" / (id + ".json");
  while (std::chrono::steady_clock::now() < end) {
    if (std::filesystem::exists(file)) {
      const Json reply = read_json(file);
      std::filesystem::remove(file);
      return {.text = reply.value("text", ""), .is_error = reply.value("is_error", false)};
    }
    std::this_thread::sleep_for(k_look_every);
  }
  return {.text = fmt::format("error: the run did not answer within {} s", deadline.count() / 1000),
          .is_error = true};
}

}  // namespace kernelites
