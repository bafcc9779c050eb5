// SPDX-License-Identifier: Apache-2.0
// Results of a library's arms: what is compared, what is missing, and the way to another machine and back.
#include "tools/baseline_table.h"

#include <fstream>
#include <sstream>

#include "engine/core/error.h"
#include "tests/support/catch.h"
#include "tests/support/small_task.h"
#include "tests/support/temporary_folder.h"
#include "tools/baseline_bench.h"
#include "tools/baseline_markdown.h"
#include "tools/task_markdown.h"

using namespace kernelites;

namespace {

Task small_task() { return parse_task(small_task_document(), "// reference", "small_task.json"); }

std::vector<double> around(double time_us) {
  std::vector<double> samples;
  for (int i = 0; i < 20; ++i) samples.push_back(time_us * (1 + 0.001 * (i % 5)));
  return samples;
}

/// Rounds of a slow and a fast seed and a library that takes `library_us`, whose output lies at `share`.
Json result(double library_us, const Json& share = 0.2, const std::string& id = "scaled_rows") {
  return {{"kernelites_baseline", 1},
          {"id", id},
          {"workload", "wide"},
          {"device", DeviceFacts{.kind = "NVIDIA H100 80GB HBM3"}},
          {"torch", "2.11"},
          {"date", "2026-11-25"},
          {"error", ""},
          {"times_us", {{"slow", around(30)}, {"fast", around(10)}, {"library", around(library_us)}}},
          {"baselines", {"library", "absent"}},
          {"agreement", {{"slow", {{"y", 0.0}}}, {"fast", {{"y", 0.1}}}, {"library", {{"y", share}}}}},
          {"unavailable", {{"absent", "ModuleNotFoundError: no module"}}}};
}

}  // namespace

TEST_CASE("arms are compared with the fastest candidate of the same rounds") {
  const BaselineTable table = baseline_table(small_task(), {result(20)});
  REQUIRE(table.rows.size() == 1);
  const LibraryArm* const library = fastest(table.rows[0], true);
  REQUIRE(library);
  CHECK(library->speedup.value == Approx(0.5).epsilon(0.01));
  CHECK(*library->speedup.low <= library->speedup.value);
  CHECK(*library->speedup.high >= library->speedup.value);
  CHECK(fastest(table.rows[0], false)->name == "fast");
  const auto comparison = compare_with_libraries(table);
  REQUIRE(comparison);
  CHECK(comparison->speedup == Approx(2).epsilon(0.01));
  CHECK(comparison->libraries == std::vector<std::string>{"library"});
}

TEST_CASE("rounds far off move neither the comparison nor what any table tells of it") {
  Json wild = result(20);
  for (std::size_t round = 0; round < 3; ++round) wild["times_us"]["library"][round] = 80;
  const BaselineTable table = baseline_table(small_task(), {wild});
  const Interval& speedup = fastest(table.rows.at(0), true)->speedup;
  CHECK(speedup.value == Approx(0.5).epsilon(0.01));
  CHECK(*speedup.low > 0.49);
  CHECK(*speedup.high < 0.51);

  const TemporaryFolder folder;
  const DataRoot data{folder.path()};
  std::filesystem::create_directories(data.measured());
  MeasuredBaselines measured;
  record(measured, table);
  std::ofstream(data.measured() / "baselines_h100.json") << Json(measured).dump();
  Task task = small_task();
  task.folder = folder.path();
  CHECK(baseline_markdown({task}, data, measured).find("| 1 of 1 | 2.00 | 2.00 |") != std::string::npos);
  CHECK_THAT(task_markdown({task}, data),
             Catch::Contains(
                 "| the best seed is 2.00x as fast as library (1 shapes) (older); the task names torch |"));
}

TEST_CASE("rows that another estimator kept are compared by their medians, without an interval") {
  MeasuredBaselines measured;
  record(measured, baseline_table(small_task(), {result(20)}));
  Json json(measured);
  for (Json& arm : json["tasks"]["scaled_rows"]["wide"]["arms"]) {
    arm["speedup"] = {0.4, 0.39, 0.41};
    arm.erase("interval");
  }
  const auto old = json.get<MeasuredBaselines>();
  const Interval& speedup = fastest(old.tasks.at("scaled_rows").rows.at(0), true)->speedup;
  CHECK(speedup.value == Approx(0.5).epsilon(0.01));
  CHECK_FALSE(speedup.low);
}

TEST_CASE("what was measured of another task or seed, or without digests, is told as older") {
  const TemporaryFolder folder;
  Task task = small_task();
  task.folder = folder.path();
  const DataRoot data{folder.path()};
  std::filesystem::create_directories(folder.path() / "seeds");
  for (const char* seed : {"fast.cu", "slow.cu", "newest.cu"})
    std::ofstream(folder.path() / "seeds" / seed) << "// " << seed << "\n";
  Json line = result(20);
  line["digests"]["task"] = task.digest;
  for (const auto& [name, id] : seed_ids(task, data)) line["digests"]["arms"][name] = id;
  const auto text_of = [&](const Json& measured_line) {
    MeasuredBaselines measured;
    record(measured, baseline_table(task, {measured_line}));
    return baseline_markdown({task}, data, Json(measured).get<MeasuredBaselines>());
  };
  CHECK_THAT(text_of(line), Catch::Contains("| `scaled_rows` | 1 of 1 |") &&
                                Catch::Contains("Seeds without a time beside libraries: `newest`."));
  CHECK_THAT(text_of(result(20)), Catch::Contains("| `scaled_rows` (older) | 1 of 1 |"));
  std::ofstream(folder.path() / "seeds" / "slow.cu") << "// mended\n";
  CHECK_THAT(text_of(line), Catch::Contains("| `scaled_rows` (older) | 1 of 1 |"));
  std::ofstream(folder.path() / "seeds" / "slow.cu") << "// slow.cu\n";
  CHECK_THAT(text_of(line), Catch::Contains("| `scaled_rows` | 1 of 1 |"));
  task.digest = "another";
  CHECK_THAT(text_of(line), Catch::Contains("| `scaled_rows` (older) | 1 of 1 |"));
}

TEST_CASE("a library whose output is wrong has no time and no speed-up is claimed") {
  for (const Json& share : {Json(1.5), Json("inf"), Json("nan")}) {
    const BaselineTable table = baseline_table(small_task(), {result(20, share)});
    CHECK_FALSE(fastest(table.rows.at(0), true));
    CHECK_FALSE(compare_with_libraries(table));
    CHECK(table.rows.at(0).missing.contains("library"));
  }
}

TEST_CASE("a library that cannot be called is told by name") {
  const BaselineTable table = baseline_table(small_task(), {result(20)});
  CHECK(missing_arms(table) == std::vector<std::string>{"wide: absent: ModuleNotFoundError: no module"});
}

TEST_CASE("parts of one task are put together, other tasks passed over") {
  Json part = result(5, 0.2, "scaled_rows/compiled");
  part["times_us"] = {{"fast", around(11)}, {"other", around(5.5)}};
  part["agreement"] = Json::object();
  part["baselines"] = {"other"};
  const BaselineTable table =
      baseline_table(small_task(), {result(20), part, result(1, 0.2, "scaled_rows_more")});
  REQUIRE(table.rows.at(0).arms.size() == 4);
  CHECK(fastest(table.rows[0], true)->name == "other");
  CHECK(fastest(table.rows[0], true)->speedup.value ==
        Approx(2).epsilon(0.01));  // against the 11 of its own rounds
}

TEST_CASE("figures are the same after writing and reading them") {
  const BaselineTable table = baseline_table(small_task(), {result(20)});
  MeasuredBaselines measured;
  record(measured, table);
  const auto again = Json::parse(Json(measured).dump()).get<MeasuredBaselines>();
  CHECK(Json(again).dump() == Json(measured).dump());
  CHECK(baseline_cells(small_task(), again.tasks.at("scaled_rows")) == baseline_cells(small_task(), table));
  CHECK(Json(again)["tasks"]["scaled_rows"]["wide"]["seed"] == "fast.cu");
}

TEST_CASE("figures of another device are not put beside those that are there") {
  MeasuredBaselines measured;
  record(measured, baseline_table(small_task(), {result(20)}));
  BaselineTable other = baseline_table(small_task(), {result(20)});
  other.device.kind = "another";
  CHECK_THROWS_AS(record(measured, other), Error);
}

TEST_CASE("the document names what was not measured and claims nothing for it") {
  MeasuredBaselines measured;
  const auto text = [&] { return baseline_markdown({small_task()}, {}, measured); };
  CHECK_THAT(text(), Catch::Contains("| `scaled_rows` | 0 | not measured |"));
  record(measured, baseline_table(small_task(), {result(20, "inf")}));
  CHECK_THAT(text(), Catch::Contains("| `scaled_rows` (older) | 0 | no library ran |"));
  record(measured, baseline_table(small_task(), {result(20)}));
  CHECK_THAT(text(), Catch::Contains("| `scaled_rows` (older) | 1 of 1 | 2.00 |"));
}

TEST_CASE("what is no result is trouble") {
  CHECK_THROWS_AS(baseline_table(small_task(), {Json{{"id", "scaled_rows"}}}), Error);
}

TEST_CASE("a batch is written first and read once its results are there") {
  const TemporaryFolder folder;
  Task task = small_task();
  const std::string file = (folder.path() / "mine.py").string();
  std::ofstream(file) << "def library(p):\n  return lambda: {'y': p.x}\n";
  const BaselineBench bench{.seeds = {{"fast.cu", {.source = "// fast"}}},
                            .file = file,
                            .batch = (folder.path() / "batch").string()};
  std::ostringstream out, err;
  Program program{.out = out, .err = err, .executable = ""};
  bench_baselines(task, bench, {}, program);
  const Json job = read_json(folder.path() / "batch" / "scaled_rows.in.jsonl");
  CHECK(job.at("request").at("duel").at("arms").at(0).at("label") == "fast");
  CHECK(job.at("request").at("device") == "gpu");
  CHECK(job.at("digests").at("task") == task.digest);
  CHECK(job.at("digests").at("arms").at("fast") == candidate_id({.source = "// fast", .tuning = {}}));
  CHECK(job.at("baseline_source") == read_text(file));
  CHECK(out.str().find("baseline_batch.py") != std::string::npos);

  std::ofstream(folder.path() / "batch" / "scaled_rows.out.jsonl") << result(20).dump() << "\n{\"torn";
  out.str("");
  bench_baselines(task, bench, {}, program);
  CHECK(out.str().find("library (library)") != std::string::npos);
  CHECK(out.str().find("2.0") != std::string::npos);
}

namespace {

/// bench_baselines on this machine, with a shell script in Python's place; what was printed, or the error's words.
std::string bench_with(const std::string& script) {
  const TemporaryFolder folder;
  const std::string python = (folder.path() / "python").string(), file = (folder.path() / "mine.py").string();
  std::ofstream(python) << "#!/bin/sh\n" << script;
  std::filesystem::permissions(python, std::filesystem::perms::owner_all);
  std::ofstream(file) << "def library(p):\n  return lambda: {}\n";
  const BaselineBench bench{.seeds = {{"fast.cu", {.source = "// fast"}}},
                            .file = file,
                            .batch = "",
                            .python = python,
                            .worker = "/bin/true"};
  std::ostringstream out, err;
  Program program{.out = out, .err = err, .executable = ""};
  try {
    bench_baselines(small_task(), bench, {}, program);
  } catch (const Error& error) {
    return error.what();
  }
  return out.str();
}

}  // namespace

TEST_CASE("on a machine with a device the adapter's results are read when it ends") {
  const std::string text = bench_with("echo '" + result(20).dump() + "' > $5");
  CHECK(text.find("library (library)") != std::string::npos);
  CHECK(text.find("times as fast") != std::string::npos);
}

TEST_CASE("what a machine lacks is told in the adapter's words") {
  const std::string text = bench_with("echo 'python3 cannot import PyTorch' >&2; exit 71");
  CHECK(text.find("python3 cannot import PyTorch") != std::string::npos);
  CHECK(text.find("--batch") != std::string::npos);
}

TEST_CASE("two files of one name are not timed beside libraries under one name") {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "mine.py").string();
  std::ofstream(file) << "def library(p):\n  return lambda: {}\n";
  const BaselineBench bench{.seeds = {{"a/k.cu", {.source = "// one"}}, {"b/k.cu", {.source = "// two"}}},
                            .file = file,
                            .batch = ""};
  CHECK_THROWS_AS(baseline_job(small_task(), bench), ConfigError);
}

TEST_CASE("a task without baselines says so") {
  CHECK_THROWS_AS(baseline_job(small_task(), {}), ConfigError);
}

TEST_CASE("measured files are found by name and in its order, and none where there is no folder") {
  const TemporaryFolder folder;
  for (const char* name : {"baselines_h200.json", "notes.json", "baselines_a100.json", "baselines_h100.json"})
    std::ofstream(folder.path() / name) << "{}";
  const auto at = [&](const char* name) { return folder.path() / name; };
  CHECK(measured_files(folder.path()) == std::vector<std::filesystem::path>{at("baselines_a100.json"),
                                                                            at("baselines_h100.json"),
                                                                            at("baselines_h200.json")});
  CHECK(measured_files(at("missing")).empty());
}
