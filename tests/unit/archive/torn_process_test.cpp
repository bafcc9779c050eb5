// SPDX-License-Identifier: Apache-2.0
// A writer killed at any instant: nothing is half, nothing counts twice, and the run ends as if nothing had
// happened.
#include <sys/wait.h>

#include "archive/dump.h"
#include "engine/core/error.h"
#include "engine/core/rng.h"
#include "tests/support/catch.h"
#include "tests/unit/archive/scripted_run.h"

using namespace kernelites;

namespace {

constexpr std::uint64_t k_variations = 25;
constexpr int k_kills_max = 300;

/// Starts a process that makes or resumes the run. It exits with 0 when the run is done.
pid_t start_writer(const std::filesystem::path& folder) {
  const pid_t child = fork();
  if (child != 0) return child;
  try {
    Archive archive = Archive::exists(folder) ? Archive::open(folder) : Archive::create(folder, sample_run());
    continue_scripted_run(archive, k_variations);
    _exit(0);
  } catch (const std::exception&) {
    _exit(1);
  }
}

/// Waits up to `patience_us`, then kills. True if the process had ended by itself, with 0.
bool finished_before_kill(pid_t child, std::uint64_t patience_us) {
  usleep(static_cast<useconds_t>(patience_us));
  kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status)) REQUIRE(WEXITSTATUS(status) == 0);
  return WIFEXITED(status);
}

/// Facts that hold after every transaction.
void check_whole(const TemporaryFolder& folder) {
  Database database(folder.database(), Database::Mode::read_only);
  const auto check_none = [&](const char* what, const char* sql) {
    INFO(what);
    CHECK(database.integer(sql) == 0);
  };
  CHECK(database.text("PRAGMA integrity_check") == "ok");
  check_none("broken references", "SELECT count(*) FROM pragma_foreign_key_check");
  check_none("an answer without verdict",
             "SELECT count(*) FROM evaluation WHERE state = 'answered' AND reason IS NULL");
  check_none("a submission without candidate",
             "SELECT count(*) FROM variation v WHERE state = 'submitted' AND NOT EXISTS "
             "(SELECT 1 FROM candidate c WHERE c.variation = v.ordinal)");
  check_none("a rejection of an open variation",
             "SELECT count(*) FROM rejection r JOIN variation v USING (ordinal) WHERE v.state <> 'rejected'");
  check_none("an elite apart from its history",
             "SELECT count(*) FROM elite e WHERE e.ordinal <> "
             "(SELECT h.ordinal FROM elite_history h WHERE h.cell = e.cell ORDER BY sequence DESC LIMIT 1)");
  check_none("a history without its telling",
             "SELECT count(*) FROM elite_history h JOIN candidate c USING (ordinal) WHERE c.told IS NULL");
  check_none("two requests of one verb for a candidate",
             "SELECT count(*) FROM (SELECT 1 FROM evaluation GROUP BY ordinal, verb HAVING count(*) > 1)");
  check_none("a gap in the order of telling", "SELECT coalesce(max(told), 0) - count(told) FROM candidate");
}

}  // namespace

TEST_CASE("a run killed again and again ends with the results and the spend of one that was not") {
  const TemporaryFolder whole_folder;
  Archive whole = Archive::create(whole_folder.path(), sample_run());
  continue_scripted_run(whole, k_variations);

  const TemporaryFolder folder;
  Rng rng(11);
  int kills = 0;
  bool is_done = false;
  while (!is_done) {
    REQUIRE(kills < k_kills_max);
    // The first kills hit the making of the file; growing patience lets a slow disk get ahead too.
    const std::uint64_t patience_us = rng.below(3'000 + 2'000 * static_cast<std::uint64_t>(kills));
    is_done = finished_before_kill(start_writer(folder.path()), patience_us);
    kills += is_done ? 0 : 1;
    if (Archive::exists(folder.path())) check_whole(folder);
  }
  const Archive torn = Archive::open(folder.path());
  INFO("killed " << kills << " times");
  CHECK(kills >= 5);
  CHECK(dump(torn) == dump(whole));
  CHECK(torn.spent().usd == whole.spent().usd);
  CHECK(torn.spent().model_calls == k_variations);
  CHECK(torn.spent().device_s == whole.spent().device_s);
  CHECK(torn.counters().told == whole.counters().told);
  CHECK(torn.open_variations().empty());
  CHECK(torn.outstanding_requests().empty());
}
