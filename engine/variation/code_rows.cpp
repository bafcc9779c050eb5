// SPDX-License-Identifier: Apache-2.0
// Machine instructions in groups that a reader can act on.
#include "engine/variation/code_rows.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

namespace kernelites {
namespace {

struct InstructionGroup {
  const char* name;
  std::vector<std::string_view> mnemonics;
};

/// In the order in which they are told. What belongs to no group is counted as other.
const std::vector<InstructionGroup>& groups() {
  static const std::vector<InstructionGroup> k_groups = {
      {"tensor", {"HMMA", "HGMMA", "QGMMA", "IMMA", "IGMMA", "BMMA", "BGMMA", "DMMA"}},
      {"bulk copies", {"UTMALDG", "UTMASTG", "UTMAREDG", "UBLKCP", "UBLKRED"}},
      {"async copies", {"LDGSTS"}},
      {"global", {"LDG", "STG", "LD", "ST", "ATOMG", "ATOM", "RED"}},
      {"shared", {"LDS", "STS", "LDSM", "STSM", "ATOMS"}},
      {"local", {"LDL", "STL"}},
      {"special", {"MUFU"}},
      {"float", {"FFMA", "FADD", "FMUL", "FMNMX", "FSEL", "FSETP", "FSET"}},
      {"half", {"HFMA2", "HADD2", "HMUL2", "HMNMX2", "HSETP2"}},
      {"conversions", {"F2FP", "F2F", "F2I", "I2F", "I2FP", "FRND"}},
      {"integer",
       {"IADD3", "IMAD", "LEA", "LOP3", "SHF", "PRMT", "ISETP", "VIADD", "IDP", "VIMNMX", "IMNMX"}},
      {"shuffles", {"SHFL", "REDUX", "VOTE", "MATCH"}},
      {"barriers", {"BAR", "SYNCS", "WARPSYNC", "DEPBAR", "LDGDEPBAR", "WARPGROUP", "MEMBAR"}},
      {"branches", {"BRA", "BSSY", "BSYNC", "CALL", "RET", "EXIT"}},
  };
  return k_groups;
}

/// What an advisory of ptxas means, by a word in it.
struct AdvisoryMeaning {
  std::string_view word, meaning;
};
/// Advisories begin with "ptxas: " (nvrtc/compile_log.h).
constexpr AdvisoryMeaning k_advisories[] = {
    {"wgmma",
     "tensor instructions wait for each other: keep accumulators untouched between wgmma fence and wait"},
    {"setmaxnreg",
     "the registers that warp roles hand over stay where they are: set a launch bound that allows it"},
};

std::string_view meaning_of(std::string_view advisory) {
  for (const AdvisoryMeaning& row : k_advisories)
    if (advisory.find(row.word) != std::string_view::npos) return row.meaning;
  return "a loss of speed that the compiler itself reports";
}

}  // namespace

std::vector<std::pair<std::string, std::int64_t>> instruction_groups(const StaticCounts& counts) {
  std::vector<std::pair<std::string, std::int64_t>> sums;
  std::int64_t all = 0, grouped = 0;
  for (const auto& [mnemonic, occurrences] : counts.sass) all += occurrences;
  for (const InstructionGroup& group : groups()) {
    std::int64_t sum = 0;
    for (const std::string_view mnemonic : group.mnemonics) {
      const auto found = counts.sass.find(std::string(mnemonic));
      if (found != counts.sass.end()) sum += found->second;
    }
    grouped += sum;
    if (sum > 0) sums.emplace_back(group.name, sum);
  }
  if (all > grouped) sums.emplace_back("other", all - grouped);
  return sums;
}

std::vector<FeedbackRow> sass_rows(const Examination& examination) {
  constexpr std::size_t k_advisories_max = 3;
  std::vector<FeedbackRow> rows;
  std::vector<std::string> words;
  for (const auto& [group, count] : instruction_groups(examination.counts))
    words.push_back(fmt::format("{} {}", group, count));
  if (!words.empty())
    rows.push_back({"machine instructions", fmt::format("{}", fmt::join(words, ", ")),
                    "in the compiled code, counted once each and not executed"});
  std::int64_t stores = 0, loads = 0;
  for (const KernelResources& kernel : examination.kernels) {
    stores += kernel.spill_store_bytes;
    loads += kernel.spill_load_bytes;
  }
  if (stores + loads > 0)
    rows.push_back({"spills", fmt::format("{} B stored and {} B loaded per thread", stores, loads),
                    "registers did not suffice: each spill is a memory access"});
  std::size_t told = 0;
  for (const std::string& note : examination.notes) {
    constexpr std::string_view k_mark = "ptxas: ";
    if (!note.starts_with(k_mark) || told == k_advisories_max) continue;
    rows.push_back({"ptxas", note.substr(k_mark.size()), std::string(meaning_of(note))});
    ++told;
  }
  return rows;
}

std::vector<FeedbackRow> modelled_rows(const Duel& duel, std::size_t count_max) {
  struct Longest {
    std::string workload;
    const ModelledLaunch* launch;
    double share;
  };
  std::vector<Longest> longest;
  for (const auto& [workload, launches] : duel.modelled) {
    if (launches.empty()) continue;
    double sum = 0;
    for (const ModelledLaunch& launch : launches) sum += launch.time_us;
    const auto most = std::max_element(
        launches.begin(), launches.end(),
        [](const ModelledLaunch& a, const ModelledLaunch& b) { return a.time_us < b.time_us; });
    longest.push_back({workload, &*most, sum > 0 ? most->time_us / sum : 0});
  }
  std::stable_sort(longest.begin(), longest.end(),
                   [](const Longest& a, const Longest& b) { return a.launch->time_us > b.launch->time_us; });
  if (longest.size() > count_max) longest.resize(count_max);
  std::vector<FeedbackRow> rows;
  for (const Longest& row : longest)
    rows.push_back(
        {fmt::format("modelled at {}", row.workload),
         fmt::format("`{}` takes {:.1f} us ({:.0f} % of the call), limited by {}, {:.0f} % of an SM's "
                     "warps resident, {:.2f} waves",
                     row.launch->kernel, row.launch->time_us, 100 * row.share, row.launch->limit,
                     100 * row.launch->occupancy, row.launch->waves),
         "by the virtual GPU's time model, not measured"});
  return rows;
}

}  // namespace kernelites
