// SPDX-License-Identifier: Apache-2.0
// Jobs on the virtual GPU: outputs, faults, compile errors, comparison.
#include "evaluators/worker/kernel_run/job_run.h"

#include <cstring>
#include <limits>

#include "engine/core/error.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

constexpr const char* k_source = R"(
template <class T> __global__ void scale(T* x, T* y, T factor) { y[threadIdx.x] = factor * x[threadIdx.x]; }
extern "C" __global__ void clear(float* x, float* y, float) { x[threadIdx.x] = 0; }
)";

struct Run {
  KernelJob job;
  JobCode code;
  JobOutcome outcome;
};

Run run_kernel(const std::string& source, const std::string& kernel, int threads = 8,
               const std::string& architecture = "compute_80") {
  const TemporaryFolder folder;
  write_text_atomically(folder.path() / "job.cu", source);
  const Json json = {{"source", "job.cu"},
                     {"buffers",
                      {{{"name", "x"}, {"dtype", "f32"}, {"count", 8}, {"contents", {{"sequence", {0, 1}}}}},
                       {{"name", "y"}, {"dtype", "f32"}, {"count", 8}, {"output", true}}}},
                     {"launches",
                      {{{"kernel", kernel},
                        {"block", {threads}},
                        {"arguments", {Json{{"buffer", "x"}}, Json{{"buffer", "y"}}, Json{{"f32", 0.5}}}}}}}};
  static Compiler compiler(find_toolkit({}));
  Run run{.job = parse_kernel_job(json, folder.path() / "job.json"), .code = {}, .outcome = {}};
  run.code = job_code(run.job, &compiler, architecture);
  if (!run.code.failure.empty()) return run;
  const auto device = make_vgpu_device(1);
  run.outcome = run_job(run.job, run.code, *device, 10);
  return run;
}

std::vector<std::byte> bytes_of(const std::vector<float>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

}  // namespace

TEST_CASE("a job runs a template by its name expression") {
  const Run run = run_kernel(k_source, "scale<float>");
  INFO(run.code.failure);
  REQUIRE_FALSE(run.outcome.fault.has_value());
  CHECK(run.outcome.outputs.at(0) == bytes_of({0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5}));
  CHECK(run.outcome.elapsed_us > 0);
}

TEST_CASE("a job's source has what the contract gives candidates of the standard headers") {
  const Run run = run_kernel(R"(#include <cstdint>
#include <math.h>
__global__ void ends(float* x, float* y, float) { y[threadIdx.x] = x[threadIdx.x] < 4 ? INFINITY : uint32_t(7); })",
                             "ends");
  INFO(run.code.failure);
  REQUIRE_FALSE(run.outcome.fault.has_value());
  const float end = std::numeric_limits<float>::infinity();
  CHECK(run.outcome.outputs.at(0) == bytes_of({end, end, end, end, 7, 7, 7, 7}));
}

TEST_CASE("the folder for outputs is made, and a file in its place is refused") {
  const TemporaryFolder folder;
  make_output_folder(folder.path() / "a" / "b");
  CHECK(std::filesystem::is_directory(folder.path() / "a" / "b"));
  CHECK_NOTHROW(make_output_folder(folder.path() / "a" / "b"));
  write_text_atomically(folder.path() / "file", "");
  CHECK_THROWS_AS(make_output_folder(folder.path() / "file"), ConfigError);
}

TEST_CASE("a job's fault names the source line and the buffer") {
  const Run run = run_kernel(k_source, "scale<float>", 9);
  REQUIRE(run.outcome.fault.has_value());
  CHECK(run.outcome.fault->reason == "out_of_bounds");
  CHECK(run.outcome.fault->line == 2);
  CHECK(run.outcome.fault->message.find("'x'") != std::string::npos);
}

TEST_CASE("a job's input cannot be written") {
  const Run run = run_kernel(k_source, "clear");
  REQUIRE(run.outcome.fault.has_value());
  CHECK(run.outcome.fault->reason == "read_only_write");
}

TEST_CASE("a source that does not compile is told in the compiler's words") {
  const Run run = run_kernel("__global__ void scale() { nothing(); }", "scale");
  CHECK(run.code.failure.find("\"nothing\" is undefined") != std::string::npos);
}

TEST_CASE("outputs are compared within a tolerance of their size") {
  const JobBuffer buffer{.name = "y",
                         .type = *find_element_type("f32"),
                         .count = 4,
                         .contents = {},
                         .is_output = true,
                         .tolerance = 0.01};
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto differ = [&](const std::vector<float>& a, const std::vector<float>& b) {
    return compare_outputs(buffer, bytes_of(a), bytes_of(b));
  };
  CHECK(differ({1, 2, 3, nan}, {1, 2, 3, nan}).unequal_bits == 0);
  CHECK(differ({1, 2, 3, nan}, {1, 2, 3, 4}).beyond == 1);
  const Difference close = differ({1.01f, 2, 3, 4}, {1, 2, 3, 4});
  CHECK(close.beyond == 0);
  CHECK(close.unequal_bits == 1);
  const Difference far = differ({1, 2.2f, 3, 4}, {1, 2, 3, 4});
  CHECK(far.beyond == 1);
  CHECK(far.worst_at == 1);
}

TEST_CASE("what is no fault and yet not as PTX asks is told beside the outputs") {
  const Run run = run_kernel(R"(__global__ void lower(float* x, float* y, float) {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 24;");
  y[threadIdx.x % 8] = x[threadIdx.x % 8];
})",
                             "lower", 32, "compute_90a");
  INFO(run.code.failure);
  REQUIRE_FALSE(run.outcome.fault.has_value());
  REQUIRE(run.outcome.remarks.size() == 1);
  CHECK(run.outcome.remarks[0].find("setmaxnreg_ignored: ptxas ignores this setmaxnreg") == 0);
  CHECK(run.outcome.remarks[0].find("line 2") != std::string::npos);
}
