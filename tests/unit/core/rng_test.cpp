// SPDX-License-Identifier: Apache-2.0
// Keyed randomness and digests.
#include "engine/core/rng.h"

#include "engine/core/digest.h"
#include "engine/core/error.h"
#include "tests/support/catch.h"

using namespace kernelites;

TEST_CASE("the same run seed, ordinal and purpose give the same stream") {
  CHECK(Rng::keyed(7, 3, "select").bits() == Rng::keyed(7, 3, "select").bits());
}

TEST_CASE("another ordinal or purpose gives another stream") {
  const auto first = Rng::keyed(7, 3, "select").bits();
  CHECK(first != Rng::keyed(7, 4, "select").bits());
  CHECK(first != Rng::keyed(7, 3, "operator").bits());
  CHECK(first != Rng::keyed(8, 3, "select").bits());
}

TEST_CASE("weighted draws never return a zero weight") {
  Rng rng(1);
  for (int i = 0; i < 1000; ++i) CHECK(rng.weighted({0, 1, 0, 2, 0}) % 2 == 1);
}

TEST_CASE("a digest is what sha256sum prints") {
  CHECK(digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("parts that concatenate to the same text have different digests") {
  CHECK(digest_parts({"a", "bc"}) != digest_parts({"ab", "c"}));
}

TEST_CASE("a key survives the way through hexadecimal") {
  const Key key = Key::fixed("golden");
  CHECK(Key::from_hex(key.hex(), "test") == key);
}

TEST_CASE("a key that is too short is refused") {
  CHECK_THROWS_AS(Key::from_hex("abcd", "test"), ConfigError);
}

TEST_CASE("derived keys differ by purpose and ordinal") {
  const Key key = Key::fixed("golden");
  CHECK(key.derive("inputs", 1) != key.derive("inputs", 2));
  CHECK(key.derive("inputs", 1) != key.derive("rows", 1));
}
