// SPDX-License-Identifier: Apache-2.0
// A table of phrases and the measured labels that go with them.
#include "engine/core/claims.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace kernelites {
namespace {

struct Claim {
  const char* name;
  std::array<std::string_view, 6> phrases;  // lower case; a phrase may go on ("specialis" -> "specialised")
  std::string_view axis;
  std::array<std::string_view, 3> labels;  // with any of these the code may hold it
};

constexpr std::array<Claim, 7> k_claims{{
    {"tma", {"tma", "cp.async.bulk", "bulk copy", "bulk copies", "tensor map"}, "movement", {"tma"}},
    {"cp.async",
     {"cp.async", "cp_async", "async copy", "async copies", "asynchronous cop"},
     "movement",
     {"cp_async", "tma"}},
    {"wgmma", {"wgmma", "warpgroup mma"}, "compute", {"wgmma"}},
    {"tensor cores",
     {"tensor core", "tensor-core", "mma.sync", "mma_sync", "wmma"},
     "compute",
     {"mma_sync", "wgmma"}},
    {"split-kv",
     {"split-kv", "split kv", "splitkv", "split_kv", "flash-decoding", "flash decoding"},
     "split",
     {"split_kv", "persistent", "specialised"}},
    {"persistent", {"persistent"}, "split", {"persistent", "specialised"}},
    {"warp specialisation",
     {"warp specialis", "warp-specialis", "warp specializ", "warp-specializ", "producer warp"},
     "split",
     {"specialised"}},
}};

constexpr std::string_view k_negations[] = {
    "no",       "not",       "without", "instead", "rather", "remove",  "removed",
    "removes",  "removing",  "drop",    "dropped", "drops",  "replace", "replaces",
    "replaced", "replacing", "avoid",   "avoids",  "than",   "from",    "non"};

bool is_letter(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

/// True if one of the few words before `at`, back to the last sign, turns the meaning.
bool is_negated(std::string_view text, std::size_t at) {
  constexpr std::size_t k_words = 4;
  std::size_t end = at;
  for (std::size_t words = 0; words < k_words; ++words) {
    while (end > 0 && (text[end - 1] == ' ' || text[end - 1] == '-' || text[end - 1] == '`')) --end;
    std::size_t begin = end;
    while (begin > 0 && is_letter(text[begin - 1])) --begin;
    if (begin == end) return false;  // a sign, or the beginning
    const std::string_view word = text.substr(begin, end - begin);
    if (std::find(std::begin(k_negations), std::end(k_negations), word) != std::end(k_negations)) return true;
    end = begin;
  }
  return false;
}

bool claims(std::string_view text, std::string_view phrase) {
  for (std::size_t at = text.find(phrase); at != std::string_view::npos; at = text.find(phrase, at + 1)) {
    const bool begins = at == 0 || !is_letter(text[at - 1]);
    const std::size_t end = at + phrase.size();
    // "cp.async" within "cp.async.bulk" is another technique, "tma" within "tmap" none.
    const bool goes_on = text.substr(end).starts_with(".bulk") ||
                         (phrase == "tma" && end < text.size() && is_letter(text[end]));
    if (begins && !goes_on && !is_negated(text, at)) return true;
  }
  return false;
}

}  // namespace

std::vector<std::string> unexecuted_claims(std::string_view text, const Descriptors& descriptors) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::vector<std::string> names;
  for (const Claim& claim : k_claims) {
    const auto measured = descriptors.find(std::string(claim.axis));
    if (measured == descriptors.end()) continue;
    if (std::find(claim.labels.begin(), claim.labels.end(), measured->second) != claim.labels.end()) continue;
    const bool is_claimed =
        std::any_of(claim.phrases.begin(), claim.phrases.end(),
                    [&](std::string_view phrase) { return !phrase.empty() && claims(lower, phrase); });
    if (is_claimed) names.emplace_back(claim.name);
  }
  return names;
}

}  // namespace kernelites
