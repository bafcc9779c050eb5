// SPDX-License-Identifier: Apache-2.0
// Images and faults on their way between supervisor and children.
#include "evaluators/worker/pipeline/child_messages.h"

#include "engine/core/error.h"
#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

TEST_CASE("an image survives its way through a message") {
  const ModuleImage image{.ptx = ".version 8.0", .cubin = {std::byte{1}, std::byte{0}, std::byte{255}}};
  Message message;
  attach_image(message, image);
  const ModuleImage back = detach_image(message);
  CHECK(back.ptx == image.ptx);
  CHECK(back.cubin == image.cubin);
}

TEST_CASE("an image whose sizes disagree with its bytes is refused") {
  Message message;
  attach_image(message, {.ptx = "abc"});
  message.body["ptx_bytes"] = 1000;
  CHECK_THROWS_AS(detach_image(message), Error);
}

TEST_CASE("a reply without ok is a fault") { CHECK(fault_of(Json::object()).has_value()); }

TEST_CASE("a fault keeps reason, words and line") {
  const auto fault =
      fault_of(fault_reply({.reason = "out_of_bounds", .message = "8 bytes past k", .line = 7}).body);
  REQUIRE(fault.has_value());
  CHECK(fault->reason == "out_of_bounds");
  CHECK(fault->message == "8 bytes past k");
  CHECK(fault->line == 7);
}
