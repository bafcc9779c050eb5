// SPDX-License-Identifier: Apache-2.0
// No candidate is rid of the sanitizer by what it does to the virtual GPU.
#include "evaluators/worker/pipeline/sanitize_limits.h"

#include <optional>
#include <vector>
#include "tests/support/catch.h"

using kernelites::worker::DeviceFault;
using kernelites::worker::fault_when_sure;

TEST_CASE("what the virtual GPU does not know is excused on newer devices alone") {
  kernelites::DeviceFacts hopper, newer;
  hopper.compute_capability = 90;
  newer.compute_capability = 100;
  for (const char* reason : {"unsupported_instruction", "invalid_launch", "module_rejected"}) {
    CHECK_FALSE(is_unknown_code({.reason = reason, .message = ""}, hopper));
    CHECK(is_unknown_code({.reason = reason, .message = ""}, newer));
  }
  for (const char* reason : {"child_died", "deadline", "error", "race", "out_of_bounds", "budget_exceeded"})
    CHECK_FALSE(is_unknown_code({.reason = reason, .message = ""}, newer));
}

TEST_CASE("a process of the virtual GPU may come to an end once, a second time is the candidate's") {
  using Faults = std::vector<std::optional<DeviceFault>>;
  const DeviceFault died{.reason = "child_died", .message = "killed"};
  const DeviceFault race{.reason = "race", .message = "two writes"};
  const struct {
    Faults faults;
    std::size_t looks;
    const char* reason;
  } rows[] = {{{std::nullopt}, 1, ""},
              {{race, std::nullopt}, 1, "race"},
              {{died, std::nullopt}, 2, ""},
              {{died, race}, 2, "race"},
              {{died, died, std::nullopt}, 2, "child_died"},
              {{DeviceFault{.reason = "deadline", .message = ""}, std::nullopt}, 2, ""}};
  for (const auto& row : rows) {
    std::size_t looks = 0;
    const auto fault = fault_when_sure([&] { return row.faults.at(looks++); });
    CHECK(looks == row.looks);
    CHECK((fault ? fault->reason : "") == row.reason);
  }
}
