// SPDX-License-Identifier: Apache-2.0
// Arithmetic in task files.
#include "engine/core/formula.h"

#include "engine/core/error.h"
#include "tests/support/catch.h"

using namespace kernelites;

namespace {

double value_of(std::string_view formula) { return evaluate_formula(formula, {{"S", 10}, {"D_head", 4}}); }

std::string refusal_of(std::string_view formula) {
  try {
    value_of(formula);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("products bind tighter than sums and equal operators go from left to right") {
  CHECK(value_of("1 + 2*3") == 7);
  CHECK(value_of("10 - 4 - 3") == 3);
  CHECK(value_of("16/4/2") == 2);
  CHECK(value_of("2*(3 + S)") == 26);
}

TEST_CASE("formulas know names, a leading minus, exponents, min and max") {
  CHECK(value_of("S*D_head") == 40);
  CHECK(value_of("-S + 1e3") == 990);
  CHECK(value_of("min(S, 3) + max(D_head, 2*3)") == 9);
}

TEST_CASE("a formula that is wrong says where and why") {
  CHECK(refusal_of("S*T").find("\"T\" is not a known name; known here: D_head, S") != std::string::npos);
  CHECK(refusal_of("S*").find("character 3") != std::string::npos);
  CHECK(refusal_of("(S").find("expected ')'") != std::string::npos);
  CHECK(refusal_of("S S").find("expected the end") != std::string::npos);
  CHECK(refusal_of("").find("expected a number") != std::string::npos);
  CHECK(refusal_of("1/0").find("not finite") != std::string::npos);
}

TEST_CASE("a formula nested without end is refused, not followed") {
  CHECK(refusal_of(std::string(100000, '(')).find("nested too deeply") != std::string::npos);
  CHECK(refusal_of(std::string(100000, '-')).find("nested too deeply") != std::string::npos);
}
