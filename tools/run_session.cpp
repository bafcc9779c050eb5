// SPDX-License-Identifier: Apache-2.0
// Events beside those of the loop.
#include "tools/run_session.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/error.h"
#include "engine/search/baseline.h"
#include "tools/inspect/run_end.h"
#include "tools/inspect/screen_text.h"

namespace kernelites {
namespace {

/// A task of a user's own may have none but those that the command line names.
std::vector<Seed> shipped_seeds(const Task& task, const DataRoot& data) {
  try {
    return find_seeds(task, data);
  } catch (const ConfigError&) {
    return {};
  }
}

/// The task's seeds that the run does not begin with.
void record_left_out(Archive& archive, const Task& task, const DataRoot& data,
                     const std::vector<Seed>& seeds) {
  std::vector<std::string> left_out;
  for (const Seed& one : shipped_seeds(task, data)) {
    const auto is_same = [&](const Seed& seed) {
      return candidate_id(seed.candidate) == candidate_id(one.candidate);
    };
    if (std::none_of(seeds.begin(), seeds.end(), is_same)) left_out.push_back(one.name);
  }
  if (!left_out.empty()) archive.append_event({{"event", k_seeds_left_out}, {"seeds", left_out}});
}

}  // namespace

LoopEnd run_to_its_end(RunParts& parts, const RunFolder& folder, const DataRoot& data) {
  if (parts.archive.next_ordinal() == 1) record_left_out(parts.archive, parts.task, data, parts.seeds);
  try {
    return Loop(parts).run();
  } catch (const Error& error) {
    const std::string words = error.what();
    try {
      parts.archive.set_state("stopped");
      parts.archive.append_event({{"event", "stopped"}, {"reason", "trouble"}, {"detail", words}});
    } catch (const Error&) {
      throw Error(words);  // what came first is what to tell
    }
    const Baseline baseline = baseline_of(parts.archive, workload_weights(parts.task));
    if (!baseline.failure.empty() && baseline.id.empty() && !baseline.is_pending)
      throw Error(fmt::format("{} (`kernelites show {} {}` has all that is known)", words,
                              shell_word(folder.root.string()), baseline.failed));
    throw;
  }
}

}  // namespace kernelites
