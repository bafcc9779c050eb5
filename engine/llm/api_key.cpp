// SPDX-License-Identifier: Apache-2.0
// Reading keys, and refusing those that are not kept well.
#include "engine/llm/api_key.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>

#include "engine/core/error.h"

namespace kernelites {
namespace {

std::string checked(std::string key, const std::string& where, const char* field, const std::string& holder) {
  while (!key.empty() && std::isspace(static_cast<unsigned char>(key.back()))) key.pop_back();
  if (key.empty()) throw ConfigError(where, field, holder + " is empty");
  for (const unsigned char c : key) {
    if (c > 0x20 && c < 0x7f) continue;
    throw ConfigError(where, field, holder + " does not hold a key: it has spaces or control characters");
  }
  return key;
}

struct OpenFile {
  int descriptor;
  ~OpenFile() {
    if (descriptor >= 0) ::close(descriptor);
  }
};

}  // namespace

std::string key_from_environment(const std::string& name, const SecretSource& source,
                                 const std::string& where) {
  const std::string holder = fmt::format("the environment variable {}", name);
  const std::optional<std::string> key = source(name);
  if (!key || key->empty()) throw ConfigError(where, "api_key_env", holder + " is not set");
  return checked(*key, where, "api_key_env", holder);
}

std::string key_from_file(const std::filesystem::path& file, const std::string& where) {
  constexpr const char* k_field = "api_key_file";
  const OpenFile open{::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (open.descriptor < 0)
    throw ConfigError(where, k_field, fmt::format("{}: {}", file.string(), std::strerror(errno)));
  struct stat facts {};
  if (::fstat(open.descriptor, &facts) != 0 || !S_ISREG(facts.st_mode))
    throw ConfigError(where, k_field, file.string() + " is not a file");
  if (facts.st_uid != ::geteuid() && facts.st_uid != 0)
    throw ConfigError(where, k_field, file.string() + " belongs to another user");
  if (constexpr unsigned k_others = 0177; (facts.st_mode & k_others) != 0)
    throw ConfigError(where, k_field,
                      fmt::format("{0} has mode {1:04o}, so that others may read or change it: chmod 600 {0}",
                                  file.string(), facts.st_mode & 07777));
  std::array<char, 4096> bytes{};
  const ssize_t count = ::read(open.descriptor, bytes.data(), bytes.size());
  if (count < 0)
    throw ConfigError(where, k_field, fmt::format("{}: {}", file.string(), std::strerror(errno)));
  return checked(std::string(bytes.data(), static_cast<std::size_t>(count)), where, k_field, file.string());
}

}  // namespace kernelites
