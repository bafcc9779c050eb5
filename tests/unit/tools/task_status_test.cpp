// SPDX-License-Identifier: Apache-2.0
// Replies about seeds become what docs/measured keeps, and come back as they were.
#include "tools/task_status.h"

#include <filesystem>
#include <fstream>

#include "engine/core/error.h"
#include "engine/core/json.h"
#include "tests/support/catch.h"
#include "tests/support/small_task.h"
#include "tests/support/temporary_folder.h"
#include "tools/task_markdown.h"

using namespace kernelites;

namespace {

std::map<std::string, Task> known_tasks() {
  const Task task = parse_task(small_task_document(), "// reference", "small_task.json");
  return {{task.name, task}};
}

Reply reply(const std::string& id) {
  Reply made{.id = id};
  made.provenance.task_digest = "abc";
  made.provenance.device.kind = "Some GPU";
  made.provenance.device.memory_gb_per_s = 1000;
  return made;
}

Reply examined(const std::string& id, const Verdict& verdict) {
  Reply made = reply(id);
  made.examination.emplace();
  made.examination->verdict = verdict;
  return made;
}

Reply timed(const std::string& id, double time_us) {
  Reply made = reply(id);
  made.duel.emplace();
  made.duel->verdict = Verdict::passed();
  made.duel->arms = {"good.cu"};
  made.duel->timing["wide"] = {{.time_us_median = time_us, .samples = 7}};
  return made;
}

}  // namespace

TEST_CASE("a status knows every seed's last verdict and time, by the id of the reply") {
  DeviceStatus status;
  const auto known = known_tasks();
  status.add(examined("examine scaled_rows naive.cu", Verdict::failed("bench", "deadline", "slow")), known);
  status.add(examined("examine scaled_rows good.cu", Verdict::failed("check", "wrong", "wrong")), known);
  status.add(examined("scaled_rows/good.cu", Verdict::passed()), known);
  status.add(timed("duel scaled_rows good.cu+naive.cu", 9), known);
  status.add(timed("duel scaled_rows good.cu", 2), known);
  status.add(examined("examine other_task naive.cu", Verdict::passed()), known);
  status.add(examined("time scaled_rows naive.cu", Verdict::passed()), known);
  REQUIRE(status.tasks.size() == 1);
  const TaskStatus& task = status.tasks.at("scaled_rows");
  CHECK(task.digest == "abc");
  CHECK(task.seeds ==
        std::map<std::string, std::string>{{"naive.cu", "bench/deadline"}, {"good.cu", "passed"}});
  REQUIRE(task.times.size() == 1);
  CHECK(task.times.front().time_us == 2);
  CHECK(task.times.front().samples == 7);
  // 2 * 2 * 16 * 1024 * 8 bytes in two microseconds are 262 GB/s of 1000.
  CHECK(task.times.front().of_copy == Approx(0.262144));
  CHECK(status.device == "Some GPU");
}

TEST_CASE("a status is the same after a file, and batches become one without their torn last line") {
  TemporaryFolder folder;
  const auto batch = folder.path() / "out.jsonl", kept = folder.path() / "seeds.json";
  std::ofstream(batch) << encode(examined("examine scaled_rows good.cu", Verdict::passed())) << "\n"
                       << encode(timed("duel scaled_rows good.cu", 2)) << "\n{\"kernelites_re";
  const DeviceStatus status = status_of_replies({batch}, known_tasks(), "2026-01-02");
  CHECK(status.date == "2026-01-02");
  CHECK(status.tasks.at("scaled_rows").times.size() == 1);
  CHECK_FALSE(find_device_status(kept));
  std::ofstream(kept) << to_json(status).dump();
  CHECK(to_json(read_device_status(kept)) == to_json(status));
  std::ofstream(batch) << "{}\n";
  CHECK_THROWS_AS(status_of_replies({batch}, known_tasks(), "2026-01-02"), ConfigError);
}

TEST_CASE(
    "a record of one task leaves the other tasks of the file, and times of the same task, as they are") {
  const SeedTime time{.workload = "wide", .seed = "good.cu", .time_us = 2};
  const DeviceStatus before{
      .device = "Some GPU",
      .date = "2026-01-02",
      .copy_gb_per_s = 1000,
      .tasks = {{"other", {"o", {{"naive.cu", "passed"}}, {}}},
                {"same", {"s", {{"naive.cu", "check/wrong"}, {"good.cu", "passed"}}, {time}}},
                {"changed", {"old", {{"naive.cu", "passed"}}, {time}}}}};
  const DeviceStatus now{.device = "Some GPU",
                         .date = "2026-01-03",
                         .copy_gb_per_s = 1100,
                         .tasks = {{"same", {"s", {{"naive.cu", "passed"}}, {}}},
                                   {"changed", {"new", {{"good.cu", "passed"}}, {}}}}};
  const DeviceStatus both = updated(before, now);
  CHECK(both.date == "2026-01-03");
  CHECK(both.tasks.at("other").seeds == before.tasks.at("other").seeds);
  CHECK(both.tasks.at("same").seeds.at("naive.cu") == "passed");
  CHECK(both.tasks.at("same").seeds.at("good.cu") == "passed");
  CHECK(both.tasks.at("same").times.size() == 1);
  CHECK(both.tasks.at("changed").times.empty());
  CHECK(both.tasks.at("changed").seeds.count("naive.cu") == 0);
  DeviceStatus elsewhere = now;
  elsewhere.device = "Another GPU";
  CHECK_THROWS_AS(updated(before, elsewhere), ConfigError);
}

TEST_CASE("the table of tasks names the seeds that a device has not examined, and none that are gone") {
  TemporaryFolder folder;
  Task task = known_tasks().begin()->second;
  task.folder = folder.path();
  task.digest = "abc";
  std::filesystem::create_directories(folder.path() / "seeds");
  for (const char* seed : {"good.cu", "new.cu"})
    std::ofstream(folder.path() / "seeds" / seed) << "// kernel\n";
  const DataRoot data{folder.path()};
  std::filesystem::create_directories(data.measured());
  const DeviceStatus status{
      .device = "Some GPU",
      .date = "2026-01-02",
      .copy_gb_per_s = 1000,
      .tasks = {{task.name, {"abc", {{"good.cu", "passed"}, {"gone.cu", "passed"}}, {}}}}};
  std::ofstream(data.measured() / "seeds_h100.json") << to_json(status).dump();
  const std::string text = task_markdown({task}, data);
  CHECK(text.find("| 1 of 2 (new: not examined) |") != std::string::npos);
  CHECK(text.find("gone") == std::string::npos);
}

TEST_CASE("docs/measured holds no seed that is no file") {
  const std::filesystem::path root = KERNELITES_SOURCE_DIR;
  for (const char* file : {"seeds_vgpu.json", "seeds_h100.json"})
    for (const auto& [task, kept] : read_json(root / "docs/measured" / file).at("tasks").items())
      for (const auto& [seed, words] : kept.at("seeds").items()) {
        INFO(file << ": " << task << "/" << seed);
        CHECK(std::filesystem::exists(root / "kernels_seed" / task / seed));
      }
}
