// SPDX-License-Identifier: Apache-2.0
// The run's side of the channel: everything by descriptors, relative to folders that it made.
#include "engine/llm/tool_channel.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "engine/core/error.h"
#include "engine/core/json.h"
#include "engine/llm/foreign_json.h"
#include "engine/llm/request_text.h"

namespace kernelites {
namespace {

constexpr int k_entries_max = 256;  // looked at in one pass

int open_folder(const std::filesystem::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor < 0) throw Error(fmt::format("{}: {}", path.string(), std::strerror(errno)));
  return descriptor;
}

constexpr std::string_view k_extension = ".json";

}  // namespace

ToolChannel::ToolChannel(const std::filesystem::path& scratch, std::string token,
                         const std::vector<ToolSpec>& tools)
    : token_(std::move(token)) {
  const std::filesystem::path folder = scratch / k_tool_channel_folder;
  std::error_code failure;
  std::filesystem::create_directories(folder / "requests", failure);
  std::filesystem::create_directories(folder / "replies", failure);
  if (failure) throw Error(fmt::format("{}: {}", folder.string(), failure.message()));
  Json list = Json::array();
  for (const ToolSpec& tool : tools)
    list.push_back({{"name", tool.name}, {"description", tool.description}, {"parameters", tool.parameters}});
  write_text_atomically(folder / "channel.json",
                        Json{{"version", 1}, {"token", token_}, {"tools", list}}.dump(1));
  requests_ = open_folder(folder / "requests");
  replies_ = open_folder(folder / "replies");
}

ToolChannel::~ToolChannel() {
  for (int descriptor : {requests_, replies_})
    if (descriptor >= 0) close(descriptor);
}

/// The file's text; empty if it is no plain file of allowed size.
std::string ToolChannel::read_request(const std::string& name) const {
  const int file = openat(requests_, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) return "";
  struct stat facts {};
  std::string text;
  if (fstat(file, &facts) == 0 && S_ISREG(facts.st_mode) &&
      static_cast<std::size_t>(facts.st_size) <= k_tool_request_bytes_max) {
    text.resize(static_cast<std::size_t>(facts.st_size));
    std::size_t have = 0;
    while (have < text.size()) {
      const ssize_t got = read(file, text.data() + have, text.size() - have);
      if (got <= 0) break;
      have += static_cast<std::size_t>(got);
    }
    text.resize(have);
  }
  close(file);
  return text;
}

/// Ids of requests that are there and were not returned, in order of their names.
std::vector<std::string> ToolChannel::new_requests() const {
  std::vector<std::string> ids;
  const int copy = openat(requests_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return ids;
  std::unique_ptr<DIR, int (*)(DIR*)> folder(fdopendir(copy), closedir);
  if (!folder) {
    close(copy);
    return ids;
  }
  for (int seen = 0; seen < k_entries_max; ++seen) {
    const dirent* entry = readdir(folder.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (!name.ends_with(k_extension)) continue;
    const std::string id(name.substr(0, name.size() - k_extension.size()));
    if (is_file_safe(id) && !returned_.contains(id)) ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::optional<ToolCall> ToolChannel::poll() {
  for (const std::string& id : new_requests()) {
    const std::string text = read_request(id + std::string(k_extension));
    if (++polled_ > k_tool_requests_max) {
      answer(id, "error: this session has made too many requests", true);
      continue;
    }
    const Json request = parse_foreign_json(text);
    const std::string name = text_at(request, "name");
    if (text_at(request, "token") != token_ || name.empty()) {
      answer(id, "error: not a request of this session", true);
      continue;
    }
    returned_.insert(id);
    return ToolCall{.id = id, .name = name, .arguments = text_at(request, "arguments")};
  }
  return std::nullopt;
}

bool ToolChannel::answer(const std::string& id, std::string_view text, bool is_error) {
  if (!is_file_safe(id)) return false;
  // Only now: whoever looks sees a request or its reply. A folder of that name stays, and is not asked about again.
  if (unlinkat(requests_, (id + std::string(k_extension)).c_str(), 0) == 0)
    returned_.erase(id);
  else
    returned_.insert(id);
  const std::string reply = Json{{"version", 1}, {"text", text}, {"is_error", is_error}}.dump(
      -1, ' ', false, Json::error_handler_t::replace);
  const std::string temporary = id + ".tmp";
  const int file =
      openat(replies_, temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file < 0) return false;
  const bool is_written = write(file, reply.data(), reply.size()) == static_cast<ssize_t>(reply.size());
  close(file);
  return is_written && renameat(replies_, temporary.c_str(), replies_, (id + ".json").c_str()) == 0;
}

}  // namespace kernelites
