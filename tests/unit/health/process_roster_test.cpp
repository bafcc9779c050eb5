// SPDX-License-Identifier: Apache-2.0
// Whose the processes on a device are, where their numbers are the worker's and where they are a host's.
#include "evaluators/worker/health/process_roster.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "evaluators/worker/health/own_processes.h"
#include "tests/support/catch.h"

using namespace kernelites::worker;
using Numbers = std::vector<unsigned>;

namespace {

OwnProcess holder(unsigned pid, std::uint64_t start = 1) {
  return {.pid = pid, .start = start, .may_hold_context = true};
}
OwnProcess compiler(unsigned pid) { return {.pid = pid, .start = 1, .may_hold_context = false}; }

/// Readings one after another.
struct RosterRig {
  ProcessRoster roster;
  Numbers others(const Numbers& listed, const std::vector<OwnProcess>& own) {
    RosterReading reading = read_roster(listed, own, roster);
    roster = std::move(reading.roster);
    return reading.others;
  }
};

}  // namespace

TEST_CASE("before its first context a worker takes every process on the device for somebody else's") {
  RosterRig rig;
  CHECK(rig.others({900, 901}, {compiler(10)}) == Numbers{900, 901});
}

TEST_CASE("a worker that found its own numbers twice tells whoever comes later") {
  RosterRig rig;
  CHECK(rig.others({}, {}).empty());
  CHECK(rig.others({11, 12}, {compiler(10), holder(11), holder(12)}).empty());
  CHECK_FALSE(rig.roster.knows_own);  // once is no proof
  CHECK(rig.others({11, 12, 900}, {holder(11), holder(12)}) == Numbers{900});
  CHECK(rig.others({11, 13, 900}, {holder(11), holder(13)}) == Numbers{900});
}

TEST_CASE(
    "children of virtual devices, which never hold a context, do not keep a worker from knowing its own") {
  RosterRig rig;
  rig.others({}, {});
  std::vector<OwnProcess> own{holder(11), holder(12)};
  for (unsigned number = 20; number < 32; ++number) own.push_back(holder(number));
  rig.others({11, 12}, own);
  CHECK(rig.others({11, 12, 900}, own) == Numbers{900});
}

TEST_CASE("a container's numbers that pass a host's are no proof, and its own executor is no stranger") {
  RosterRig rig;
  CHECK(rig.others({700}, {}) == Numbers{700});  // a neighbour from before
  // The referee is 37 in here and 5120 outside; a few hundred evaluations on, children have the number 5120 themselves.
  for (unsigned number = 5000; number < 5300; number += 2) {
    const unsigned outside = 20000 + number;
    const std::vector<OwnProcess> own{holder(37), compiler(number - 1), holder(number), holder(number + 2)};
    CHECK(rig.others({700, 5120, outside, outside + 2}, own) == Numbers{700});
    CHECK(rig.others({700, 5120, outside, outside + 2}, own) == Numbers{700});
    CHECK_FALSE(rig.roster.knows_own);
  }
}

TEST_CASE("a compile child whose number a host's process has proves nothing, however long it lives") {
  RosterRig rig;
  rig.others({}, {});
  for (int reading = 0; reading < 5; ++reading) CHECK(rig.others({5120}, {compiler(5120)}).empty());
  CHECK_FALSE(rig.roster.knows_own);
}

TEST_CASE("numbers of own processes that ended are forgotten: a neighbour that gets one is told") {
  RosterRig rig;
  rig.others({}, {});
  for (int reading = 0; reading < 2; ++reading) rig.others({11, 12}, {holder(11), holder(12)});
  CHECK(rig.others({11, 12}, {holder(11)}) == Numbers{12});
  CHECK(rig.others({11, 12}, {holder(11), holder(12, 99)}).empty());  // used again by a new child
}

TEST_CASE("a child that got the number of an earlier one was not seen twice") {
  RosterRig rig;
  rig.others({}, {});
  rig.others({11, 12}, {holder(11, 1), holder(12)});
  rig.others({11, 12}, {holder(11, 2), holder(12)});
  CHECK_FALSE(rig.roster.knows_own);
}

TEST_CASE("a neighbour that left is forgotten: an own process that gets its host's number is no stranger") {
  RosterRig rig;
  CHECK(rig.others({700}, {}) == Numbers{700});
  CHECK(rig.others({900}, {holder(37)}).empty());
  CHECK(rig.others({900, 700}, {holder(37)}).empty());
}

TEST_CASE("own numbers that are named no more at two readings are another namespace's") {
  RosterRig rig;
  rig.others({}, {});
  for (int reading = 0; reading < 2; ++reading) rig.others({11, 12}, {holder(11), holder(12)});
  CHECK(rig.roster.knows_own);
  rig.others({900}, {holder(11), holder(12)});
  CHECK(rig.roster.knows_own);
  CHECK(rig.others({900}, {holder(11), holder(12)}).empty());
  CHECK_FALSE(rig.roster.knows_own);
}

TEST_CASE("a process knows those below it, and which of them may hold a context") {
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl("/bin/sh", "sh", "-c", "sleep 5 & wait", "executor", nullptr);
    ::_exit(1);
  }
  const auto is_ready = [&](const std::vector<OwnProcess>& own) {
    return own.size() == 3 && std::any_of(own.begin(), own.end(), [&](const OwnProcess& one) {
             return one.pid == static_cast<unsigned>(child) && one.start > 0 && one.may_hold_context;
           });
  };
  bool is_found = false;
  for (int tries = 0; tries < 400 && !is_found; ++tries) {
    is_found = is_ready(own_processes());
    if (!is_found) ::usleep(5000);
  }
  CHECK(is_found);
  const std::vector<OwnProcess> own = own_processes();
  CHECK(std::count_if(own.begin(), own.end(), [](const auto& one) { return one.may_hold_context; }) == 1);
  for (const OwnProcess& one : own)
    if (one.pid != static_cast<unsigned>(::getpid())) ::kill(static_cast<pid_t>(one.pid), SIGKILL);
  ::waitpid(child, nullptr, 0);
}
