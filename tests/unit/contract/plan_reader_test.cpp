// SPDX-License-Identifier: Apache-2.0
// Plan streams in every form in which PTX prints data, and forged ones.
#include "evaluators/worker/contract/plan_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>

#include "evaluators/worker/contract/plan_batch.h"
#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

constexpr std::uint64_t k_magic = 0x31304e414c504c4b;

/// One plan: kernel "f", grid (2, 1, 1), block (64, 1, 1), one i32 argument -5.
std::vector<std::uint64_t> small_stream() {
  return {k_magic, 1, 0, 0,  0, 1,     1, 'f',   2, 1, 1,     64, 1, 1,
          1,       1, 1, 96, 0, ~0ull, 0, ~0ull, 1, 3, ~4ull, 0,  0};
}

template <typename T>
std::string declaration(const std::vector<std::uint64_t>& words, const char* type, std::size_t spare = 0) {
  std::vector<T> elements(words.size() * 8 / sizeof(T));
  std::memcpy(elements.data(), words.data(), words.size() * 8);
  while (!elements.empty() && elements.back() == 0) elements.pop_back();
  std::vector<std::string> texts;
  for (T element : elements) texts.push_back(std::to_string(element));
  return fmt::format(".global .align 8 .{} kernelites_plans[{}] = {{{}}};\n", type,
                     (words.size() + spare) * 8 / sizeof(T), fmt::join(texts, ", "));
}

std::string reason_of(const std::string& ptx, std::size_t points = 1) {
  const auto result = read_plans(ptx, points);
  const auto* verdict = std::get_if<Verdict>(&result);
  return verdict ? verdict->reason : "read";
}

}  // namespace

TEST_CASE("a plan reads the same from bytes, 32-bit and 64-bit words, with its tail of zeros left out") {
  LaunchPlan expected;
  expected.launches = {{.kernel = "f",
                        .grid = {2, 1, 1},
                        .block = {64, 1, 1},
                        .shared_bytes = 96,
                        .arguments = {{.kind = ArgumentKind::i32, .integer = -5}}}};
  const std::vector<std::uint64_t> words = small_stream();
  for (const std::string& ptx :
       {declaration<std::uint8_t>(words, "b8", 100), declaration<std::uint32_t>(words, "b32"),
        declaration<std::uint64_t>(words, "u64"), declaration<std::int64_t>(words, "b64", 7)}) {
    const auto result = read_plans(ptx, 1);
    INFO(ptx);
    REQUIRE(std::holds_alternative<std::vector<LaunchPlan>>(result));
    CHECK(Json(std::get<std::vector<LaunchPlan>>(result).at(0)).dump() == Json(expected).dump());
  }
}

TEST_CASE("every truncation of a plan is an error, not a plan") {
  const std::vector<std::uint64_t> words = small_stream();
  for (std::size_t size = 1; size < words.size(); ++size) {
    const std::vector<std::uint64_t> part(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(size));
    CHECK(reason_of(declaration<std::uint64_t>(part, "u64")) != "read");
  }
}

TEST_CASE("forged plan data is refused") {
  const std::string good = declaration<std::uint64_t>(small_stream(), "u64");
  CHECK(reason_of("") == "plan_missing");
  CHECK(reason_of(good) == "read");
  CHECK(reason_of(good, 2) == "plan_unreadable");
  CHECK(reason_of(good + good) == "plan_unreadable");
  CHECK(reason_of(".global .u64 kernelites_plans[4] = {generic(x), 1};") == "plan_unreadable");
  CHECK(reason_of(".global .u64 kernelites_plans[2] = {1, 2, 3, 4};") == "plan_unreadable");
  CHECK(reason_of(".global .u64 kernelites_plans[99999999999] = {1};") == "plan_unreadable");
  auto words = small_stream();
  words[5] = 17;  // launches
  CHECK(reason_of(declaration<std::uint64_t>(words, "u64")) == "plan_out_of_range");
  words = small_stream();
  words[8] = ~0ull;  // grid x
  CHECK(reason_of(declaration<std::uint64_t>(words, "u64")) == "plan_out_of_range");
  words = small_stream();
  words[2] = 2;  // the plan's own error
  CHECK(reason_of(declaration<std::uint64_t>(words, "u64")) == "plan_too_many_arguments");
}

TEST_CASE("words of plans are those that were written, and decode to the plans that are read") {
  std::vector<std::uint64_t> words = small_stream();
  words[1] = 2;
  const std::vector<std::uint64_t> plan(words.begin() + 2, words.end());
  words.insert(words.end(), plan.begin(), plan.end());
  const std::string ptx = declaration<std::uint64_t>(words, "u64", 40);
  const auto list = read_plan_words(ptx, 2);
  REQUIRE(std::holds_alternative<std::vector<PlanWords>>(list));
  CHECK(std::get<std::vector<PlanWords>>(list) == std::vector<PlanWords>{plan, plan});
  const auto decoded = decode_plan(plan);
  REQUIRE(std::holds_alternative<LaunchPlan>(decoded));
  const auto read = read_plans(ptx, 2);
  REQUIRE(std::holds_alternative<std::vector<LaunchPlan>>(read));
  CHECK(std::get<LaunchPlan>(decoded) == std::get<std::vector<LaunchPlan>>(read).at(1));
  CHECK(std::holds_alternative<Verdict>(decode_plan({plan.begin(), plan.end() - 1})));
}
