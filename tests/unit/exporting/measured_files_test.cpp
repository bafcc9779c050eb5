// SPDX-License-Identifier: Apache-2.0
// Files that came back from a device: times become a dispatch, and what is of another library is refused.
#include "tools/exporting/measured_files.h"

#include <fmt/format.h>

#include <fstream>

#include "engine/core/error.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"
#include "tests/unit/exporting/library_candidate.h"

using namespace kernelites;

namespace {

std::filesystem::path written(const TemporaryFolder& folder, const std::string& text) {
  std::ofstream(folder.path() / "file") << text;
  return folder.path() / "file";
}

std::string bench_of(const std::string& first, const std::string& second, const char* wide,
                     const char* tall) {
  return fmt::format(
      R"({{"kernelites_bench": 1, "arms": ["{}", "{}"], "workloads": [
         {{"workload": "wide", "dims": [16, 1024], "arm_0": {{"time_us_median": {}}}, "arm_1": {{"time_us_median": 5}}}},
         {{"workload": "tall", "dims": [512, 64], "arm_0": {{"time_us_median": {}}}, "arm_1": {{"time_us_median": 7}}}}]}})",
      first, second, wide, tall);
}

}  // namespace

TEST_CASE("a bench's times make the dispatch anew, with the arms that were measured") {
  TemporaryFolder folder;
  const Task task = library_task();
  const Portfolio portfolio = library_portfolio();
  const std::string a = portfolio.arms[0].candidate_id, b = portfolio.arms[1].candidate_id;
  const MeasuredBench bench = read_bench(written(folder, bench_of(a, b, "4", "7.05")), portfolio, task);
  const Portfolio confirmed = with_measured(portfolio, bench.shapes, 0.01);
  CHECK(confirmed.is_confirmed);
  CHECK(confirmed.arms.size() == 2);
  CHECK(arm_at(confirmed.dispatch, {{"M", 16}, {"N", 1024}}) == 0);
  CHECK(arm_at(confirmed.dispatch, {{"M", 512}, {"N", 64}}) == 0);  // less than 1 % to gain
  CHECK_THROWS_WITH(read_bench(written(folder, bench_of(b, a, "4", "7")), portfolio, task),
                    Catch::Contains("must be those of the export that was measured"));
  CHECK_THROWS_AS(read_bench(written(folder, "{}"), portfolio, task), ConfigError);
  CHECK_THROWS_AS(read_bench(written(folder, bench_of(a, b, "\"x\"", "7")), portfolio, task), ConfigError);
}

TEST_CASE("findings are the last line of a test's output, and times of a fallback name bench workloads") {
  TemporaryFolder folder;
  CHECK(read_findings(written(folder, "tiny  worst\n{\"passed\": true, \"is_deterministic\": true}\n"))
            .at("passed") == true);
  CHECK_THROWS_AS(read_findings(written(folder, "nothing\n")), ConfigError);
  CHECK(read_fallback_times(written(folder, "{\"wide\": 3.5}"), library_task()).at("wide") == 3.5);
  for (const char* text : {"{\"tiny\": 1}", "{\"wide\": 0}", "{\"wide\": \"1\"}", "[]"})
    CHECK_THROWS_AS(read_fallback_times(written(folder, text), library_task()), ConfigError);
}
