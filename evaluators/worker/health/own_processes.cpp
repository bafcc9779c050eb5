// SPDX-License-Identifier: Apache-2.0
// This process and all below it, as /proc tells them.
#include "evaluators/worker/health/own_processes.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>

namespace kernelites::worker {
namespace {

constexpr std::string_view k_numerals = "0123456789";
constexpr int k_start_field = 22, k_first_field = 3;  // of /proc/PID/stat, behind the name

struct Stat {
  unsigned parent = 0;
  std::uint64_t start = 0;
};

/// What /proc/PID/stat says behind the name, which may hold anything.
Stat read_stat(const std::filesystem::path& folder) {
  std::ifstream in(folder / "stat");
  std::string text;
  std::getline(in, text);
  const std::size_t end = text.rfind(')');
  Stat stat;
  if (end == std::string::npos) return stat;
  std::istringstream fields(text.substr(end + 1));
  std::string state;
  fields >> state >> stat.parent;
  std::string skipped;
  for (int field = k_first_field + 2; field < k_start_field; ++field) fields >> skipped;
  fields >> stat.start;
  return stat;
}

bool may_hold_context(unsigned pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/cmdline", std::ios::binary);
  for (std::string word; std::getline(in, word, '\0');)
    if (word == "executor" || word == "referee") return true;
  return false;
}

}  // namespace

std::vector<OwnProcess> own_processes() {
  std::multimap<unsigned, unsigned> children;
  std::map<unsigned, std::uint64_t> starts;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of(k_numerals) != std::string::npos) continue;
    const auto pid = static_cast<unsigned>(std::strtoul(name.c_str(), nullptr, 10));
    const Stat stat = read_stat(entry.path());
    children.emplace(stat.parent, pid);
    starts[pid] = stat.start;
  }
  std::vector<OwnProcess> own;
  std::set<unsigned> seen;
  std::vector<unsigned> open{static_cast<unsigned>(::getpid())};
  while (!open.empty()) {
    const unsigned pid = open.back();
    open.pop_back();
    if (!seen.insert(pid).second) continue;
    own.push_back({.pid = pid, .start = starts[pid], .may_hold_context = may_hold_context(pid)});
    for (auto [at, last] = children.equal_range(pid); at != last; ++at) open.push_back(at->second);
  }
  return own;
}

}  // namespace kernelites::worker
