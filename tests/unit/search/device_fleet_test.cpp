// SPDX-License-Identifier: Apache-2.0
// Many devices of one kind feed one archive: only ratios within one duel, on one device, decide anything.
#include <map>
#include <set>

#include "tests/support/catch.h"
#include "tests/unit/search/search_rig.h"

using namespace kernelites;

namespace {

/// What a search came to, without absolute times.
struct Result {
  std::map<std::string, std::string> elites;     // cell -> candidate
  std::map<std::string, std::string> champions;  // workload -> candidate
  std::map<std::uint64_t, std::string> outcomes;
  std::set<double> paces;  // of the devices that timed something
};

/// A golden run whose every request is answered by one of four devices, of which the slowest takes `spread` times as
/// long as the fastest.
Result search_with(double spread) {
  SearchRig rig;
  rig.config.is_deterministic = true;
  rig.config.budget.candidates = 30;
  FakeEvaluator evaluator(
      /*is_virtual=*/false);  // modelled times are of no card: they are compared as they are
  Result result;
  evaluator.answer = [&](const Request& request, const Provenance& provenance) {
    Reply reply = fake_reply(request, provenance);
    if (!reply.duel) return reply;
    const std::uint64_t device = Rng::keyed(3, 0, request.id).below(4);
    const double pace = 1 + (spread - 1) * static_cast<double>(device) / 3;
    for (auto& [workload, arms] : reply.duel->timing)
      for (ArmTiming& arm : arms) {
        arm.time_us_median *= pace;
        arm.time_us_p10 *= pace;
        arm.time_us_p90 *= pace;
      }
    result.paces.insert(pace);
    return reply;
  };
  FakeModel model;
  REQUIRE(rig.run(evaluator, &model).reason == StopReason::budget);
  const Archive archive = rig.open();
  for (const Elite& elite : archive.grid().elites()) result.elites[elite.cell] = elite.candidate_id;
  for (const Champion& champion : archive.champions())
    result.champions[champion.workload] = champion.candidate_id;
  for (const CandidateRecord& record : archive.told_candidates())
    result.outcomes[record.ordinal] = record.outcome;
  return result;
}

}  // namespace

TEST_CASE("devices of one kind that differ by 40 % give the same elites, champions and outcomes") {
  const Result alike = search_with(1), mixed = search_with(1.4);
  CHECK(mixed.paces.size() == 4);  // all four devices took part
  CHECK(alike.elites.size() > 3);
  CHECK(mixed.elites == alike.elites);
  CHECK(mixed.champions == alike.champions);
  CHECK(mixed.outcomes == alike.outcomes);
}
