// SPDX-License-Identifier: Apache-2.0
// What follows from a task that was read well: shapes, counts, digests, roofline.
#include "engine/core/task.h"

#include "engine/core/error.h"
#include "tests/support/catch.h"
#include "tests/support/small_task.h"

using namespace kernelites;

namespace {

Task small_task() { return parse_task(small_task_document(), "// reference", "small_task.json"); }

}  // namespace

TEST_CASE("element types and their names are inverse to each other") {
  for (const char* name : {"f16", "bf16", "f32", "f64", "e4m3", "e5m2", "i8", "u8", "i32", "i64"}) {
    const auto dtype = dtype_from_name(name);
    REQUIRE(dtype.has_value());
    CHECK(dtype_name(*dtype) == std::string(name));
  }
  CHECK(dtype_from_name("double") == std::nullopt);
}

TEST_CASE("element sizes are those of the hardware's types") {
  CHECK(dtype_bytes(Dtype::bf16) == 2);
  CHECK(dtype_bytes(Dtype::e4m3) == 1);
  CHECK(dtype_bytes(Dtype::f64) == 8);
  CHECK(dtype_bytes(Dtype::i32) == 4);
}

TEST_CASE("dims, scalars and tensors keep the order in which they were written") {
  const Task task = small_task();
  REQUIRE(task.tensors.size() == 3);
  CHECK(task.tensors[0].name == "x");
  CHECK(task.tensors[1].name == "len");
  CHECK(task.tensors[2].name == "y");
  CHECK(task.dims[2].name == "D");
}

TEST_CASE("constant dims are added to every workload") {
  const Task task = small_task();
  CHECK(task.check[0].dims.at("D") == 8);
  CHECK(task.bench[0].dims.at("D") == 8);
}

TEST_CASE("an axis may be a product of dims") {
  const Task task = small_task();
  CHECK(tensor_shape(task.tensor("y"), task.check[0]) == std::vector<std::int64_t>{2, 24});
}

TEST_CASE("element and row counts multiply the extents") {
  const Task task = small_task();
  CHECK(element_count(task.tensor("x"), task.check[0]) == 2 * 3 * 8);
  CHECK(row_count(task, task.bench[0]) == 16);
}

TEST_CASE("a fill has the default of every parameter that the task leaves out") {
  const Task task = small_task();
  CHECK(task.tensor("x").fill[0].number == std::map<std::string, double>{{"mean", 0}, {"std", 2}});
}

TEST_CASE("metadata contents keep their order and their bounding dim") {
  const Task task = small_task();
  const auto& contents = task.tensor("len").fill;
  REQUIRE(contents.size() == 2);
  CHECK(contents[0].kind == "lengths_full");
  CHECK(contents[1].of == "N");
}

TEST_CASE("the roofline takes a metadata tensor as full unless its sum is given") {
  const Task task = small_task();
  CHECK(roofline_counts(task, task.bench[0]).bytes == 2.0 * 2 * 16 * 1024 * 8);
  CHECK(roofline_counts(task, task.bench[0], {{"len", 100}}).bytes == 2.0 * 2 * 100 * 8);
}

TEST_CASE("workloads are found by name among bench and check") {
  const Task task = small_task();
  CHECK(task.find_workload("wide") == &task.bench[0]);
  CHECK(task.find_workload("tiny") == &task.check[0]);
  CHECK(task.find_workload("none") == nullptr);
}

TEST_CASE("a task read back from its own document is the same task") {
  const Task task = small_task();
  CHECK(parse_task(task.document, task.reference_source, "request").digest == task.digest);
}

TEST_CASE("the digest changes with the document and with the reference") {
  const Task task = small_task();
  CHECK(parse_task(task.document, "// another", "request").digest != task.digest);
  Json document = small_task_document();
  document["scalars"]["factor"]["value"] = 0.38;
  CHECK(parse_task(document, task.reference_source, "request").digest != task.digest);
}

TEST_CASE("a family's own gates replace the task's for the outputs that it names") {
  Json document = small_task_document();
  document["families"]["large"]["precision"]["y"] =
      Json{{"name", "probe"}, {"row", 0.01}, {"element_ulp", 0.0078125}, {"element_rms", 0.005}};
  const Task task = parse_task(document, "// reference", "t");
  CHECK(precision_of(task, task.families[0], "y").row == 0.004);
  CHECK(precision_of(task, task.families[1], "y").row == 0.01);
}

TEST_CASE("an axis may be a formula over dims") {
  const Task task = small_task();
  TensorSpec tensor{.name = "t", .shape = {"M+1", "cdiv(N, 2)", "16"}};
  CHECK(tensor_shape(tensor, task.check[0]) == std::vector<std::int64_t>{3, 2, 16});
}

TEST_CASE("outputs with other rows than the task's form row groups of their own") {
  Task task = small_task();
  task.tensors.push_back({.name = "dk", .shape = {"N", "D"}, .role = Role::output, .rows = {"N"}});
  task.tensors.push_back({.name = "dv", .shape = {"D", "N"}, .role = Role::output, .rows = {"N"}});
  const auto groups = row_groups(task);
  REQUIRE(groups.size() == 2);
  CHECK(groups[0].suffix.empty());
  CHECK(groups[1].suffix == "_dk");
  CHECK(row_group_of(task, task.tensor("dv")) == 1);
  CHECK(row_group_of(task, task.tensor("y")) == 0);
  CHECK(row_count(groups[1], task.check[0]) == 3);
}

TEST_CASE("what is left of an output's shape without its rows keeps its order and loses the rows' factors") {
  Task task = small_task();
  task.rows = {"M"};
  const TensorSpec output{.name = "o", .shape = {"N", "M*D", "4"}, .role = Role::output};
  const auto columns = column_axes(task, output);
  REQUIRE(columns.size() == 3);
  CHECK(columns[0].extent == "N");
  CHECK(columns[1].extent == "D");
  CHECK(columns[1].axis == 1);
  CHECK(columns[2].extent == "4");
}
