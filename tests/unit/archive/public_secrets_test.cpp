// SPDX-License-Identifier: Apache-2.0
// Runs whose secrets anybody can know say so.
#include "archive/public_secrets.h"

#include "tests/support/catch.h"

using namespace kernelites;

TEST_CASE("a run says that its secrets are known where they are: golden, or modelled from recordings") {
  const auto words = [](bool is_deterministic, const Key& model_key, bool is_modelled) {
    RunRecord run;
    run.configuration = {{"is_deterministic", is_deterministic}};
    run.model_key = model_key.hex();
    return public_secrets(run, is_modelled);
  };
  CHECK(words(true, Key::random(), false).find("deterministic") != std::string::npos);
  CHECK(words(false, public_model_key(), true).find("recorded replies") != std::string::npos);
  CHECK(words(false, public_model_key(), false).empty());  // the key is of modelled times alone
  CHECK(words(false, Key::random(), true).empty());
}
