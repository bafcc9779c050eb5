// SPDX-License-Identifier: Apache-2.0
// Runs whose secrets anybody can know say so.
#include "archive/public_secrets.h"

#include "tests/support/catch.h"

using namespace kernelites;

TEST_CASE("a run says that its secrets are known where they are: golden, or modelled from recordings") {
  const auto known = [](bool is_deterministic, const Key& model_key, bool is_modelled) {
    RunRecord run;
    run.configuration = {{"is_deterministic", is_deterministic}};
    run.model_key = model_key.hex();
    return public_secrets(run, is_modelled);
  };
  CHECK(known(true, Key::random(), false).words.find("deterministic") != std::string::npos);
  CHECK(known(true, public_model_key(), true).are_examinations);
  CHECK(known(false, public_model_key(), true).words.find("recorded replies") != std::string::npos);
  CHECK_FALSE(known(false, public_model_key(), true).are_examinations);
  CHECK(known(false, public_model_key(), false).words.empty());  // the key is of modelled times alone
  CHECK(known(false, Key::random(), true).words.empty());
}
