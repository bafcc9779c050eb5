// SPDX-License-Identifier: Apache-2.0
// Who of the processes that the driver names is not this worker's: a function of two lists and of the readings before.
#include "evaluators/worker/health/process_roster.h"

#include <algorithm>
#include <iterator>

namespace kernelites::worker {
namespace {

/// Own processes that must be named at two readings in a row.
constexpr std::size_t k_proof = 2;

}  // namespace

RosterReading read_roster(std::span<const unsigned> listed, std::span<const OwnProcess> own,
                          const ProcessRoster& before) {
  const std::set<unsigned> on_device(listed.begin(), listed.end());
  ProcessRoster now{.has_looked = true, .knows_own = before.knows_own};
  std::set<unsigned> own_numbers;
  for (const OwnProcess& process : own) {
    own_numbers.insert(process.pid);
    if (!process.may_hold_context) continue;
    now.holders.insert(process);
    if (on_device.contains(process.pid)) now.named.insert(process);
  }

  std::vector<OwnProcess> living, twice;
  std::set_intersection(now.holders.begin(), now.holders.end(), before.holders.begin(), before.holders.end(),
                        std::back_inserter(living));
  std::set_intersection(now.named.begin(), now.named.end(), before.named.begin(), before.named.end(),
                        std::back_inserter(twice));
  // Two, since one number may be in both lists by coincidence: a container's own numbers run through all of them. Not
  // all: most children stand for virtual devices and never hold a context.
  if (twice.size() >= k_proof)
    now.knows_own = true;
  else if (!living.empty() && now.named.empty() && before.named.empty())
    now.knows_own = false;

  if (!before.has_looked)
    now.strangers = on_device;
  else
    std::set_intersection(before.strangers.begin(), before.strangers.end(), on_device.begin(),
                          on_device.end(), std::inserter(now.strangers, now.strangers.end()));

  std::vector<unsigned> others;
  for (const unsigned pid : on_device) {
    const bool is_own = now.knows_own && own_numbers.contains(pid);
    if (!is_own && (now.knows_own || now.strangers.contains(pid))) others.push_back(pid);
  }
  return {std::move(now), std::move(others)};
}

}  // namespace kernelites::worker
