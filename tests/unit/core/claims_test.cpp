// SPDX-License-Identifier: Apache-2.0
// A text earns a flag only for what the code does not do.
#include "engine/core/claims.h"

#include "tests/support/catch.h"

using namespace kernelites;

namespace {

const Descriptors k_plain{{"movement", "shared"}, {"compute", "fma"}, {"split", "tile"}};

void check_claims(const std::string& text, const std::vector<std::string>& expected,
                  const Descriptors& descriptors = k_plain) {
  INFO(text);
  CHECK(unexecuted_claims(text, descriptors) == expected);
}

}  // namespace

TEST_CASE("techniques that the code does not hold are named, in the order of the table") {
  check_claims("Use TMA loads and wgmma with a persistent grid", {"tma", "wgmma", "persistent"});
  check_claims("warp-specialised producer, tensor-core products", {"tensor cores", "warp specialisation"});
  check_claims("asynchronous copies (cp.async) in two stages", {"cp.async"});
  check_claims("wider tiles, fewer barriers", {});
}

TEST_CASE("what the code does is no claim, nor what a wider technique includes") {
  check_claims("cp.async ring", {}, {{"movement", "cp_async"}});
  check_claims("cp.async ring", {}, {{"movement", "tma"}});
  check_claims("TMA", {"tma"}, {{"movement", "cp_async"}});
  check_claims("split-kv", {}, {{"split", "persistent"}});
  check_claims("persistent", {"persistent"}, {{"split", "split_kv"}});
}

TEST_CASE("negated phrases claim nothing") {
  check_claims("plain loads instead of cp.async", {});
  check_claims("without any tensor cores", {});
  check_claims("replaces the TMA path; no persistent blocks", {});
  check_claims("from cp.async to TMA", {"tma"});
}

TEST_CASE("an axis that was not measured rules nothing out") {
  check_claims("TMA, wgmma, persistent", {}, {});
}

TEST_CASE("a phrase inside another word or technique is not it") {
  check_claims("the htma index, a tmap", {});
  check_claims("cp.async.bulk", {"tma"}, {{"movement", "cp_async"}});
}
