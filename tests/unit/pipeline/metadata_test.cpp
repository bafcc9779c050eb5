// SPDX-License-Identifier: Apache-2.0
// Contents of metadata tensors, and whose tokens an input holds.
#include "evaluators/worker/pipeline/metadata.h"

#include <algorithm>
#include <set>

#include "engine/core/error.h"
#include "engine/core/fill_kind.h"
#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

Fill fill(const std::string& kind, const std::string& of, const std::string& lengths = "",
          const std::map<std::string, double>& stated = {}) {
  Fill result{.kind = kind, .number = {}, .formula = {}, .of = of, .lengths = lengths};
  for (const FillParameter& parameter : find_fill_kind(kind)->parameters)
    result.number[std::string(parameter.name)] = parameter.fallback;
  for (const auto& [name, value] : stated) result.number[name] = value;
  return result;
}

/// Lengths [B], page table [B, M] over a pool of P pages of 4 slots, and a list of its pages.
Task paged_task(const Fill& lengths, const std::map<std::string, double>& table = {}) {
  Task task;
  task.dims = {{.name = "B"}, {.name = "S"}, {.name = "M"}, {.name = "P"}};
  std::map<std::string, double> numbers{{"page", 4}, {"pages", 40}};
  numbers.insert(table.begin(), table.end());
  task.tensors = {
      {.name = "pages",
       .dtype = Dtype::i32,
       .shape = {"B", "M"},
       .role = Role::metadata,
       .fill = {fill("page_table", "", "len", numbers)}},
      {.name = "len", .dtype = Dtype::i32, .shape = {"B"}, .role = Role::metadata, .fill = {lengths}},
      {.name = "starts",
       .dtype = Dtype::i32,
       .shape = {"B+1"},
       .role = Role::metadata,
       .fill = {fill("offsets_of", "", "len", {{"unit", 4}})}},
      {.name = "last",
       .dtype = Dtype::i32,
       .shape = {"B"},
       .role = Role::metadata,
       .fill = {fill("last_page", "", "len", {{"page", 4}})}},
      {.name = "k",
       .dtype = Dtype::bf16,
       .shape = {"P", "4", "8"},
       .role = Role::input,
       .fill = {},
       .valid = ValidPart{.axis = "", .lengths = "len", .table = "pages", .offsets = ""}}};
  return task;
}

Workload paged_shape() { return {.name = "w", .dims = {{"B", 5}, {"S", 24}, {"M", 6}, {"P", 40}}}; }

std::vector<std::int32_t> lengths_of(const Fill& lengths, const char* key) {
  return draw_metadata(paged_task(lengths), paged_shape(), 0, Key::fixed(key)).at("len");
}

/// Borders of `sequences` over an extent of 24.
std::vector<std::int32_t> borders(const std::string& kind, const char* key) {
  Task task;
  task.dims = {{.name = "B"}, {.name = "S"}};
  task.tensors = {{.name = "cu",
                   .dtype = Dtype::i32,
                   .shape = {"B+1"},
                   .role = Role::metadata,
                   .fill = {fill(kind, "S")}}};
  return draw_metadata(task, paged_shape(), 0, Key::fixed(key)).at("cu");
}

}  // namespace

TEST_CASE("lengths keep the promise of their kind") {
  for (const char* key : {"a", "b", "c", "d"}) {
    CHECK(lengths_of(fill("lengths_full", "S"), key) == std::vector<std::int32_t>(5, 24));
    CHECK(lengths_of(fill("lengths_one", "S"), key) == std::vector<std::int32_t>(5, 1));
    const auto empty = lengths_of(fill("lengths_with_empty", "S"), key);
    CHECK(std::count(empty.begin(), empty.end(), 0) == 1);
    const auto ragged = lengths_of(fill("lengths_ragged", "S", "", {{"min_fraction", 0.5}}), key);
    CHECK(*std::min_element(ragged.begin(), ragged.end()) >= 12);
    CHECK(*std::max_element(ragged.begin(), ragged.end()) <= 24);
    const auto skewed = lengths_of(fill("lengths_skewed", "S", "", {{"fraction", 0.25}}), key);
    CHECK(std::count(skewed.begin(), skewed.end(), 24) == 1);
    CHECK(std::count(skewed.begin(), skewed.end(), 6) == 4);
    auto geometric = lengths_of(fill("lengths_geometric", "S"), key);
    std::sort(geometric.begin(), geometric.end());
    CHECK(geometric == std::vector<std::int32_t>{1, 3, 6, 12, 24});
    for (const std::int32_t length : lengths_of(fill("lengths_near", "S", "", {{"tile", 8}}), key)) {
      CHECK(length >= 1);
      CHECK((length % 8 == 0 || length % 8 == 1 || length % 8 == 7));
    }
    for (const std::int32_t length : lengths_of(fill("lengths_short", "S"), key))
      CHECK((length >= 0 && length <= 2));
  }
}

TEST_CASE("which entry is empty is drawn") {
  std::set<std::ptrdiff_t> places;
  for (const char* key : {"a", "b", "c", "d", "e", "f", "g", "h"}) {
    const auto drawn = lengths_of(fill("lengths_with_empty", "S"), key);
    places.insert(std::find(drawn.begin(), drawn.end(), 0) - drawn.begin());
  }
  CHECK(places.size() > 1);
}

TEST_CASE("offsets partition the whole extent") {
  for (const char* kind : {"offsets_even", "offsets_ragged", "offsets_with_empty", "offsets_skewed"}) {
    for (const char* key : {"a", "b", "c"}) {
      INFO(kind);
      const auto drawn = borders(kind, key);
      REQUIRE(drawn.size() == 6);
      CHECK(drawn.front() == 0);
      CHECK(drawn.back() == 24);
      CHECK(std::is_sorted(drawn.begin(), drawn.end()));
      if (std::string(kind) == "offsets_with_empty")
        CHECK(std::adjacent_find(drawn.begin(), drawn.end()) != drawn.end());
    }
  }
}

TEST_CASE("a page table names every page once unless pages are shared or repeated") {
  const Task task = paged_task(fill("lengths_full", "S"));
  const auto drawn = draw_metadata(task, paged_shape(), 0, Key::fixed("a"));
  const auto& table = drawn.at("pages");
  CHECK(std::set<std::int32_t>(table.begin(), table.end()).size() == 30);
  CHECK_FALSE(std::is_sorted(table.begin(), table.end()));
  for (const std::int32_t page : table) CHECK((page >= 0 && page < 40));
}

TEST_CASE("shared and repeated pages come up where they are asked for") {
  const Task task = paged_task(fill("lengths_full", "S"), {{"shared", 0.3}, {"repeated", 0.3}});
  const auto table = draw_metadata(task, paged_shape(), 0, Key::fixed("a")).at("pages");
  CHECK(std::set<std::int32_t>(table.begin(), table.end()).size() < 30);
}

TEST_CASE("table entries beyond the length name a page that no sequence uses") {
  const Task task = paged_task(fill("lengths_ragged", "S"));
  const auto drawn = draw_metadata(task, paged_shape(), 0, Key::fixed("a"));
  const auto map = leading_map(task, task.tensor("k"), paged_shape(), drawn);
  for (std::size_t b = 0; b < 5; ++b) {
    const std::int32_t length = drawn.at("len")[b], used = (length + 3) / 4;
    for (std::int32_t j = 0; j < 6; ++j) {
      const auto page = static_cast<std::size_t>(drawn.at("pages")[b * 6 + static_cast<std::size_t>(j)]);
      if (j < used) {
        CHECK(map[page] ==
              LeadingEntry{static_cast<std::int32_t>(b), j * 4, length, std::min(4, length - j * 4)});
      } else {
        CHECK(map[page].valid == 0);
        CHECK(map[page].owner < 0);
      }
    }
  }
}

TEST_CASE("row starts and last pages follow from the lengths") {
  const Task task = paged_task(fill("lengths_with_empty", "S"));
  const auto drawn = draw_metadata(task, paged_shape(), 0, Key::fixed("b"));
  for (std::size_t b = 0; b < 5; ++b) {
    const std::int32_t length = drawn.at("len")[b], pages = drawn.at("starts")[b + 1] - drawn.at("starts")[b];
    CHECK(pages == (length + 3) / 4);
    CHECK(drawn.at("last")[b] == (length == 0 ? 0 : length - 4 * (pages - 1)));
  }
}

TEST_CASE("packed sequences know their tokens") {
  Task task;
  task.dims = {{.name = "B"}, {.name = "S"}};
  task.tensors = {{.name = "cu",
                   .dtype = Dtype::i32,
                   .shape = {"B+1"},
                   .role = Role::metadata,
                   .fill = {fill("offsets_even", "S")}},
                  {.name = "q",
                   .shape = {"S", "8"},
                   .valid = ValidPart{.axis = "", .lengths = "", .table = "", .offsets = "cu"}}};
  const auto drawn = draw_metadata(task, paged_shape(), 0, Key::fixed("a"));
  const auto map = leading_map(task, task.tensor("q"), paged_shape(), drawn);
  REQUIRE(map.size() == 24);
  CHECK(map[4] == LeadingEntry{1, 0, 5, 1});
  CHECK(map[23] == LeadingEntry{4, 4, 5, 1});
}

TEST_CASE("a table that is too narrow for its lengths is the task's fault, and named") {
  Workload narrow = paged_shape();
  narrow.dims["M"] = 2;
  CHECK_THROWS_WITH(draw_metadata(paged_task(fill("lengths_full", "S")), narrow, 0, Key::fixed("a")),
                    Catch::Contains("pages do not fit into a row of 2"));
}

TEST_CASE("another key draws other metadata") {
  const auto drawn = [](const char* key) { return lengths_of(fill("lengths_ragged", "S"), key); };
  CHECK(drawn("a") == drawn("a"));
  CHECK(drawn("a") != drawn("b"));
}
