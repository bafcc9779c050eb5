// SPDX-License-Identifier: Apache-2.0
// No candidate is rid of the sanitizer by what it does to the virtual GPU.
#include "evaluators/worker/pipeline/sanitize_limits.h"

#include <vector>

#include "tests/support/catch.h"

using namespace kernelites::worker;

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

// The rule alone. Beside it there is no candidate that earns `sanitize/child_died`: stage screen allows 8 KB of local
// memory a thread, the virtual GPU bounds registers and resident clusters before a launch and instructions during it,
// and no text is known that ends its process all the same. One that does shows a fault of the virtual GPU, to mend.
TEST_CASE("a process of the virtual GPU may come to an end once, a second time is the candidate's") {
  const DeviceFault died{.reason = "child_died", .message = "killed"};
  const DeviceFault late{.reason = "deadline", .message = "late"};
  const DeviceFault race{.reason = "race", .message = "two writes"};
  const DeviceFault error{.reason = "error", .message = "no memory"};
  const struct {
    std::vector<std::optional<DeviceFault>> faults;  ///< of each look; no more looks than these
    bool may_repeat;
    const char* reason;
    const char* first_end;
  } rows[] = {{{std::nullopt}, true, "", ""},
              {{race}, true, "race", ""},
              {{error}, true, "error", ""},
              {{died, std::nullopt}, true, "", "killed"},
              {{late, std::nullopt}, true, "", "late"},
              {{died, race}, true, "race", "killed"},
              {{died, died}, true, "child_died", ""},
              {{died, late}, true, "deadline", ""},
              {{died}, false, "child_died", ""}};
  for (const auto& row : rows) {
    std::size_t looks = 0;
    const Look look = look_until_sure([&] { return row.faults.at(looks++); }, [&] { return row.may_repeat; });
    CHECK(looks == row.faults.size());
    CHECK((look.fault ? look.fault->reason : "") == row.reason);
    CHECK(look.first_end == row.first_end);
  }
}
