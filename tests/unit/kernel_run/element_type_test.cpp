// SPDX-License-Identifier: Apache-2.0
// Small floats: known codes, and every code through both directions.
#include "evaluators/worker/kernel_run/element_type.h"

#include <cmath>

#include "tests/support/catch.h"

using namespace kernelites::worker;

namespace {

void check_encoding(const char* name, double value, std::uint64_t bits) {
  INFO(name << " " << value);
  CHECK(encode_element(*find_element_type(name), value) == bits);
}

void check_every_code(const char* name) {
  const ElementType type = *find_element_type(name);
  for (std::uint64_t code = 0; code < (std::uint64_t{1} << (8 * type.bytes)); ++code) {
    const double value = decode_element(type, code);
    if (std::isnan(value) || (type.bytes == 1 && std::isinf(value))) continue;
    INFO(name << " " << code);
    REQUIRE(encode_element(type, value) == code);
  }
}

}  // namespace

TEST_CASE("reals are encoded to the nearest even") {
  check_encoding("f16", 1.0, 0x3c00);
  check_encoding("f16", 1.0 + 0x1p-11, 0x3c00);
  check_encoding("f16", 1.0 + 3 * 0x1p-11, 0x3c02);
  check_encoding("f16", -65520.0, 0xfc00);
  check_encoding("f16", 0x1p-25, 0);
  check_encoding("f16", 3 * 0x1p-25, 2);
  check_encoding("bf16", -2.0, 0xc000);
  check_encoding("e4m3", 448.0, 0x7e);
  check_encoding("e4m3", 1e9, 0x7e);
  check_encoding("e5m2", 1.0, 0x3c);
  check_encoding("e5m2", -1e9, 0xfb);
  check_encoding("f32", 1.5, 0x3fc00000);
}

TEST_CASE("integers wrap around") {
  check_encoding("i8", -1, 0xff);
  check_encoding("u8", 257, 1);
  check_encoding("u32", 4294967295.0, 0xffffffff);
  check_encoding("u64", 0x1p63, std::uint64_t{1} << 63);
  CHECK(decode_element(*find_element_type("i16"), 0xfffe) == -2);
}

TEST_CASE("every code of a small float survives both directions") {
  for (const char* name : {"f16", "bf16", "e4m3", "e5m2"}) check_every_code(name);
}
