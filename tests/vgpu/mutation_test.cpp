// SPDX-License-Identifier: Apache-2.0
// Mutated PTX ends in an Error, a fault or a result; never in a crash. The sanitizer builds make this test strict.
#include <cctype>
#include <random>

#include "engine/core/error.h"
#include "tests/support/catch.h"
#include "tests/vgpu/vgpu_fixture.h"

using namespace kernelites;
using namespace kernelites::worker::vgpu;

namespace {

struct Slice {
  std::size_t begin, size;
};

std::vector<Slice> words_of(const std::string& text) {
  auto is_word = [&](std::size_t k) {
    return std::isalnum(static_cast<unsigned char>(text[k])) != 0 ||
           std::string_view("%._$").find(text[k]) != std::string_view::npos;
  };
  std::vector<Slice> words;
  for (std::size_t k = 0; k < text.size();) {
    const std::size_t begin = k;
    while (k < text.size() && is_word(k)) ++k;
    if (k > begin)
      words.push_back({begin, k - begin});
    else
      ++k;
  }
  return words;
}

std::string mutated(const std::string& text, const std::vector<Slice>& words, std::mt19937& random) {
  std::string result = text;
  for (u32 count = 1 + random() % 3; count > 0; --count) {
    const Slice at = words[random() % words.size()], from = words[random() % words.size()];
    if (random() % 4 == 0) {
      result[random() % result.size()] = "{}[];,@!%.0 -+"[random() % 14];
    } else if (at.begin + at.size <= result.size()) {
      result.replace(at.begin, at.size, text, from.begin, from.size);
    }
  }
  return result;
}

}  // namespace

TEST_CASE("mutated PTX never crashes the virtual GPU", "[vgpu]") {
  const std::string text = read_test_file("counted.ptx");
  const std::vector<Slice> words = words_of(text);
  int parsed = 0, refused = 0;
  for (u32 seed = 0; seed < 400; ++seed) {
    std::mt19937 random(seed);
    try {
      const auto program = parse(mutated(text, words, random));
      ++parsed;
      for (const std::string& kernel : kernel_names(*program)) {
        Fixture fixture;
        if (kernel_info(*program, kernel)->parameter_bytes != 28) continue;
        fixture.launch(*program, kernel, {.instruction_budget = 20'000, .checks = {}, .sample = {}});
      }
    } catch (const Error&) {
      ++refused;
    }
  }
  CHECK(parsed > 50);
  CHECK(refused > 50);
}
