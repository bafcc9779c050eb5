// SPDX-License-Identifier: Apache-2.0
// The doctor's lines: what is not green says what to do, and a machine without a GPU is usable.
#include "tools/doctor_checks.h"

#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;
namespace fs = std::filesystem;

namespace {

NullComparison null_of(double median, double low, double high) {
  return {"w", 100, {.log_ratio_median = median, .log_ratio_low = low, .log_ratio_high = high, .rounds = 60}};
}

const DoctorLine& line_of(const std::vector<DoctorLine>& lines, const std::string& subject) {
  for (const DoctorLine& line : lines)
    if (line.subject == subject) return line;
  FAIL("no line about " << subject);
  return lines.front();
}

}  // namespace

TEST_CASE("a full disk is bad, a small one a warning, and both say what to do") {
  constexpr std::uintmax_t k_megabyte = 1 << 20;
  CHECK(disk_line("runs", 100000 * k_megabyte).state == CheckState::good);
  CHECK(disk_line("runs", 1000 * k_megabyte).state == CheckState::warning);
  const DoctorLine full = disk_line("runs", 10 * k_megabyte);
  CHECK(full.state == CheckState::bad);
  CHECK(full.found.find("10 MB") != std::string::npos);
  CHECK_FALSE(full.remedy.empty());
}

TEST_CASE("timing is green while a kernel does not differ from itself, and its noise says what is resolved") {
  const DoctorLine quiet = noise_line({null_of(0.0002, -0.001, 0.001), null_of(-0.001, -0.004, 0.002)});
  CHECK(quiet.state == CheckState::good);
  CHECK(quiet.remedy.empty());
  CHECK(quiet.found.find("0.10 %") != std::string::npos);  // the worst of them
  CHECK(quiet.found.find("0.6 %") != std::string::npos);   // twice the widest half interval
  CHECK(quiet.found.find("n = 120") != std::string::npos);
  CHECK(noise_line({null_of(0.004, -0.001, 0.009)}).state == CheckState::warning);  // too far
  const DoctorLine biased = noise_line({null_of(0.002, 0.001, 0.003)});             // significantly off
  CHECK(biased.state == CheckState::warning);
  CHECK_FALSE(biased.remedy.empty());
}

TEST_CASE("a worker that says nothing of its machine is a line and no exception") {
  CHECK(machine_lines("{\"torn").front().state == CheckState::bad);
  CHECK(machine_lines("[{\"subject\": 1}]").front().state == CheckState::bad);
  TemporaryFolder folder;
  const auto lines = check_machine({"/no/such/worker"}, folder.path() / "log");
  REQUIRE_FALSE(lines.empty());
  CHECK(lines.front().state == CheckState::bad);
}

TEST_CASE("a worker tells compiler, driver, counters and jails, and each line that is not green a remedy") {
  TemporaryFolder folder;
  const fs::path worker = find_worker("", fs::path(KERNELITES_BUILD_DIR) / "tools" / "kernelites");
  const auto lines = check_machine({worker.string(), "--device", "vgpu"}, folder.path() / "log");
  for (const char* subject : {"compiler", "driver", "counters", "jail", "compiler jail"}) {
    const DoctorLine& line = line_of(lines, subject);
    INFO(subject << ": " << line.found);
    CHECK(line.remedy.empty() == (line.state == CheckState::good));
  }
  CHECK(line_of(lines, "compiler").state == CheckState::good);
  CHECK(line_of(lines, "jail").state == CheckState::good);
  CHECK(line_of(lines, "driver").state != CheckState::bad);  // without a GPU times are modelled
}
