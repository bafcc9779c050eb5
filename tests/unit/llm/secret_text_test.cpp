// SPDX-License-Identifier: Apache-2.0
// Secrets in text.
#include "engine/llm/secret_text.h"

#include "tests/support/catch.h"

using namespace kernelites;

namespace {

std::string blotted(std::string text, std::string_view secret) {
  blot_out(text, secret);
  return text;
}

}  // namespace

TEST_CASE("every occurrence of a secret is replaced") {
  CHECK(blotted("key sk-12345, again sk-12345.", "sk-12345") == "key [secret], again [secret].");
  CHECK(blotted("nothing here", "sk-12345") == "nothing here");
}

TEST_CASE("a secret that is part of its own replacement ends") {
  CHECK(blotted("a secret of secrets", "secret") == "a [secret] of [secret]s");
  CHECK(blotted("[secret]", "[secret]") == "[secret]");
}

TEST_CASE("words shorter than six bytes are flags and stay") {
  CHECK(blotted("true is true", "true") == "true is true");
  CHECK(blotted("text", "") == "text");
}
