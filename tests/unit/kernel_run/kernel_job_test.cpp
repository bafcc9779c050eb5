// SPDX-License-Identifier: Apache-2.0
// Job files: what they mean, what is refused, and that contents repeat.
#include "evaluators/worker/kernel_run/kernel_job.h"

#include <cstring>

#include "engine/core/error.h"
#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

Json job_json() {
  return parse_json(R"({
    "source": "scale.cu",
    "buffers": [
      {"name": "x", "dtype": "f32", "count": 8, "contents": {"uniform": [-1, 1]}},
      {"name": "n", "dtype": "i32", "count": 5, "contents": {"sequence": [1, 2], "modulus": 6}},
      {"name": "y", "dtype": "f16", "count": 8, "output": true, "tolerance": 0.5}],
    "launches": [{"kernel": "scale<float>", "grid": [2], "block": [4, 2], "shared_bytes": 32,
                  "arguments": [{"buffer": "x"}, {"buffer": "y", "offset": 8}, {"i32": -3}, {"f32": 0.5},
                                {"hex": "00ff"}]}]})",
                    "job.json");
}

void check_refused(const Json& json, const std::string& words) {
  try {
    parse_kernel_job(json, "job.json");
    FAIL("accepted: " << json.dump());
  } catch (const ConfigError& error) {
    INFO(error.what());
    CHECK(std::string(error.what()).find(words) != std::string::npos);
  }
}

}  // namespace

TEST_CASE("a job file is read with its defaults") {
  const KernelJob job = parse_kernel_job(job_json(), "folder/job.json");
  CHECK(job.name == "job");
  CHECK(job.source == "folder/scale.cu");
  CHECK(job.buffers[0].tolerance == find_element_type("f32")->tolerance);
  CHECK(job.buffers[2].contents.kind == Contents::Kind::unwritten);
  const JobLaunch& launch = job.launches.at(0);
  CHECK(launch.block == std::array<std::uint32_t, 3>{4, 2, 1});
  CHECK(launch.arguments[1].buffer == 2);
  CHECK(launch.arguments[1].offset == 8);
  CHECK(launch.arguments[2].bytes ==
        std::vector<std::byte>{std::byte{0xfd}, std::byte{0xff}, std::byte{0xff}, std::byte{0xff}});
  CHECK(launch.arguments[4].bytes == std::vector<std::byte>{std::byte{0}, std::byte{0xff}});
}

TEST_CASE("a wrong job file is refused with its field") {
  const auto changed = [](const char* pointer, Json value) {
    Json json = job_json();
    json[Json::json_pointer(pointer)] = std::move(value);
    return json;
  };
  check_refused(changed("/source", "scale.cpp"), "expected a .cu or a .ptx");
  check_refused(changed("/buffers/0/dtype", "f8"), "buffers[0].dtype");
  check_refused(changed("/buffers/0/contents", Json{{"gauss", 1}}), "uniform");
  check_refused(changed("/launches/0/arguments/0", Json{{"buffer", "z"}}), "names no buffer");
  check_refused(changed("/launches/0/arguments/4", Json{{"hex", "0"}}), "pairs");
  check_refused(changed("/launches/0/grid", Json::array({0})), "above 0");
  check_refused(changed("/launches/0/grids", Json::array({1})), "grids");
  Json json = job_json();
  json["buffers"][0].erase("contents");
  check_refused(json, "contents of an input");
}

TEST_CASE("contents repeat, and differ between buffers and seeds") {
  Json json = job_json();
  json["buffers"][1] = {{"name", "z"}, {"dtype", "f32"}, {"count", 8}, {"contents", {{"uniform", {-1, 1}}}}};
  const KernelJob job = parse_kernel_job(json, "job.json");
  json["seed"] = 2;
  const KernelJob other = parse_kernel_job(json, "job.json");
  CHECK(initial_bytes(job, job.buffers[0]) == initial_bytes(job, job.buffers[0]));
  CHECK(initial_bytes(job, job.buffers[0]) != initial_bytes(job, job.buffers[1]));
  CHECK(initial_bytes(job, job.buffers[0]) != initial_bytes(other, other.buffers[0]));
}

TEST_CASE("a sequence counts and wraps") {
  const KernelJob job = parse_kernel_job(job_json(), "job.json");
  const std::vector<std::byte> bytes = initial_bytes(job, job.buffers[1]);
  std::int32_t values[5];
  std::memcpy(values, bytes.data(), sizeof values);
  CHECK(std::vector<std::int32_t>(values, values + 5) == std::vector<std::int32_t>{1, 3, 5, 1, 3});
}
