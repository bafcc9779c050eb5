// SPDX-License-Identifier: Apache-2.0
// NAME=VALUE words of --tune.
#include "tools/tuning_words.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "engine/core/error.h"

namespace kernelites {
namespace {

std::string names_of(const std::map<std::string, std::int64_t>& tuning) {
  std::string names;
  for (const auto& [name, value] : tuning) names += (names.empty() ? "" : ", ") + name;
  return names.empty() ? "it declares none" : names;
}

}  // namespace

void apply_tuning(const std::vector<std::string>& words, Candidate& candidate) {
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    if (equals == std::string::npos || candidate.tuning.count(name) == 0)
      throw ConfigError("--tune", word,
                        "expected NAME=VALUE with a tunable of the file: " + names_of(candidate.tuning));
    const char* const end = word.data() + word.size();
    const auto read = std::from_chars(word.data() + equals + 1, end, candidate.tuning[name]);
    if (read.ec != std::errc() || read.ptr != end)
      throw ConfigError("--tune", word, "the value is no whole number");
    for (const Tunable& tunable : parse_tunables(candidate.source))
      if (tunable.name == name && std::find(tunable.values.begin(), tunable.values.end(),
                                            candidate.tuning[name]) == tunable.values.end())
        throw ConfigError("--tune", word,
                          fmt::format("the file declares {}", fmt::join(tunable.values, ", ")));
  }
}

}  // namespace kernelites
