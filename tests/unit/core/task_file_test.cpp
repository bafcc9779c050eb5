// SPDX-License-Identifier: Apache-2.0
// Every mistake in a task file is an error that names the file, the field and what was expected.
#include <filesystem>
#include <fstream>
#include <functional>

#include "engine/core/error.h"
#include "engine/core/task.h"
#include "engine/core/task_reference.h"
#include "tests/support/catch.h"
#include "tests/support/small_task.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;

namespace {

/// Spoils a valid document and checks that the error names the file, `field` and `expectation`.
void check_refused(const std::function<void(Json&)>& spoil, const std::string& field,
                   const std::string& expectation) {
  Json document = small_task_document();
  spoil(document);
  INFO("field " << field);
  try {
    parse_task(document, "// reference", "my_task/task.json");
    FAIL("the document was accepted");
  } catch (const ConfigError& error) {
    const std::string text = error.what();
    INFO(text);
    CHECK(text.find("my_task/task.json") != std::string::npos);
    CHECK(text.find(field) != std::string::npos);
    CHECK(text.find(expectation) != std::string::npos);
  }
}

}  // namespace

TEST_CASE("the small task itself is accepted") {
  CHECK_NOTHROW(parse_task(small_task_document(), "// reference", "small_task.json"));
}

TEST_CASE("an unknown key is refused with the list of known keys") {
  check_refused([](Json& t) { t["benchmarks"] = 1; }, "benchmarks", "known here: ");
  check_refused([](Json& t) { t["tensors"]["x"]["stride"] = 1; }, "tensors.x.stride", "known here: ");
  check_refused([](Json& t) { t["bench"][0]["wieght"] = 1; }, "bench[0].wieght", "weight");
  check_refused([](Json& t) { t["tensors"]["x"]["fill"]["sdt"] = 1; }, "tensors.x.fill.sdt", "std");
}

TEST_CASE("a misspelt key is told instead of the missing one, with the name that it is near to") {
  const auto rename = [](Json& object, const char* from, const char* to) {
    object[to] = object.at(from);
    object.erase(from);
  };
  check_refused([&](Json& t) { rename(t, "bench", "benchmarks"); }, "benchmarks", "did you mean \"bench\"?");
  check_refused([&](Json& t) { rename(t, "hold_out", "holdout"); }, "holdout", "did you mean \"hold_out\"?");
  check_refused([&](Json& t) { rename(t, "baselines", "baseline"); }, "baseline",
                "did you mean \"baselines\"?");
  check_refused([&](Json& t) { rename(t["roofline"], "flops", "flop"); }, "roofline.flop",
                "expected \"flops\"");
  check_refused([&](Json& t) { rename(t["tensors"]["x"], "dtype", "dytpe"); }, "tensors.x.dytpe",
                "expected \"dtype\", which is missing");
  check_refused([&](Json& t) { rename(t["bench"][0], "weight", "weigth"); }, "bench[0].weigth",
                "did you mean \"weight\"?");
}

TEST_CASE("a key that is near to no other is told with the known ones alone") {
  check_refused([](Json& t) { t["zzzzzzzz"] = 1; }, "zzzzzzzz", "is not a known key; known here: ");
}

TEST_CASE("a missing section is named") {
  for (const char* key : {"name", "title", "formula", "family", "dims", "scalars", "tensors", "rows",
                          "precision", "families", "check", "bench", "hold_out", "roofline", "baselines"}) {
    check_refused([&](Json& t) { t.erase(key); }, key, "missing");
  }
}

TEST_CASE("a value of the wrong type is named with its place") {
  check_refused([](Json& t) { t["title"] = 3; }, "title", "string");
  check_refused([](Json& t) { t["check"][0]["dims"]["M"] = 2.5; }, "check[0].dims.M", "whole number");
  check_refused([](Json& t) { t["check"] = 3; }, "check", "array");
  check_refused([](Json& t) { t["dims"] = 3; }, "dims", "object");
  check_refused([](Json& t) { t["hold_out"][0]["dims"]["M"] = 3; }, "hold_out[0].dims.M", "wrong type");
}

TEST_CASE("words outside the vocabulary are refused with the known words") {
  check_refused([](Json& t) { t["tensors"]["x"]["dtype"] = "float"; }, "tensors.x.dtype", "bf16");
  check_refused([](Json& t) { t["tensors"]["x"]["role"] = "in"; }, "tensors.x.role", "metadata");
  check_refused([](Json& t) { t["tensors"]["x"]["fill"]["kind"] = "gauss"; }, "tensors.x.fill.kind",
                "normal");
  check_refused([](Json& t) { t["tensors"]["len"]["fill"][0]["kind"] = "normal"; },
                "tensors.len.fill[0].kind", "lengths_full");
}

TEST_CASE("an inout tensor is refused because the format cannot state a write set") {
  check_refused([](Json& t) { t["tensors"]["x"]["role"] = "inout"; }, "tensors.x.role", "write set");
}

TEST_CASE("a shape that is no formula over dims with a whole value is refused") {
  check_refused([](Json& t) { t["tensors"]["x"]["shape"][1] = "K"; }, "tensors.x.shape", "\"K\"");
  check_refused([](Json& t) { t["tensors"]["x"]["shape"][1] = "N*"; }, "tensors.x.shape",
                "no formula over the dims");
  check_refused([](Json& t) { t["tensors"]["x"]["shape"][2] = "0"; }, "check[0]",
                "whole number of at least 1");
  check_refused([](Json& t) { t["tensors"]["x"]["shape"][2] = "D/3"; }, "check[0]",
                "whole number of at least 1");
}

TEST_CASE("two things of one name are refused, because Problem has one member for each") {
  check_refused([](Json& t) { t["scalars"]["N"] = t["scalars"]["factor"]; }, "scalars.N", "taken");
  check_refused([](Json& t) { t["dims"]["device"] = Json::object(); }, "dims.device", "taken");
}

TEST_CASE("a name that is no identifier is refused") {
  check_refused([](Json& t) { t["dims"]["B x"] = Json::object(); }, "dims", "identifier");
  check_refused([](Json& t) { t["name"] = "../x"; }, "name", "identifier");
}

TEST_CASE("workloads bind exactly the variable dims") {
  check_refused([](Json& t) { t["check"][0]["dims"].erase("N"); }, "check[0].dims.N", "missing");
  check_refused([](Json& t) { t["check"][0]["dims"]["D"] = 8; }, "check[0].dims.D", "not a variable dim");
  check_refused([](Json& t) { t["bench"][0]["dims"]["K"] = 8; }, "bench[0].dims.K", "M, N");
  check_refused([](Json& t) { t["bench"][0]["dims"]["M"] = 0; }, "bench[0].dims.M", "from 1");
}

TEST_CASE("a workload whose tensors fit no device is refused") {
  check_refused(
      [](Json& t) {
        t["bench"][0]["dims"] = Json{{"M", 2000000000}, {"N", 2000000000}};
      },
      "bench[0]", "elements");
}

TEST_CASE("two workloads of one name are refused, check and bench together") {
  check_refused([](Json& t) { t["bench"][0]["name"] = "tiny"; }, "bench[0].name", "another workload");
}

TEST_CASE("an empty list of workloads is refused") {
  check_refused([](Json& t) { t["check"] = Json::array(); }, "check", "expected 1 to");
}

TEST_CASE("a hold-out range runs from low to high over variable dims") {
  check_refused([](Json& t) { t["hold_out"][0]["dims"]["M"] = {5, 2}; }, "hold_out[0].dims.M", "[low, high]");
  check_refused([](Json& t) { t["hold_out"][0]["dims"].erase("M"); }, "hold_out[0].dims.M", "missing");
}

TEST_CASE("every output has a precision and holds its rows once") {
  check_refused([](Json& t) { t["precision"] = Json::object(); }, "precision.y", "missing");
  check_refused([](Json& t) { t["precision"]["x"] = t["precision"]["y"]; }, "precision", "not an output");
  check_refused(
      [](Json& t) {
        t["tensors"]["y"]["shape"] = {"N", "D"};
      },
      "tensors.y.shape", "\"M\" comes 0 times");
  check_refused([](Json& t) { t["tensors"]["y"]["rows"] = {"Q"}; }, "tensors.y.rows", "not a dim");
}

TEST_CASE("limits without a positive gate are refused") {
  check_refused([](Json& t) { t["precision"]["y"]["row"] = 0; }, "precision.y.row", "positive");
  check_refused([](Json& t) { t["precision"]["y"]["element_rms"] = 0; }, "precision.y.element_rms",
                "positive");
  check_refused([](Json& t) { t["precision"]["y"]["absolute"] = 1e-4; }, "precision.y.row", "absolute");
}

TEST_CASE("a log-sum-exp output has an absolute limit instead of a row gate") {
  Json document = small_task_document();
  document["precision"]["y"] = Json{{"name", "lse"}, {"absolute", 1e-4}, {"element_ulp", 1e-6}};
  const Task task = parse_task(document, "// reference", "t");
  CHECK(task.precision.at("y").absolute == 1e-4);
}

TEST_CASE("a family may only fill inputs") {
  check_refused([](Json& t) { t["families"]["large"]["fill"]["y"] = t["tensors"]["x"]["fill"]; },
                "families.large.fill.y", "not an input");
}

TEST_CASE("a family's gates are for an output") {
  check_refused([](Json& t) { t["families"]["large"]["precision"]["x"] = t["precision"]["y"]; },
                "families.large.precision.x", "not an output");
}

TEST_CASE("a valid part names an axis and metadata that fit the tensor") {
  const auto refuse = [](const char* valid, const char* field, const char* expectation) {
    check_refused([&](Json& t) { t["tensors"]["x"]["valid"] = Json::parse(valid); }, field, expectation);
  };
  refuse(R"({"axis": "M", "lengths": "len"})", "tensors.x.valid.axis", "leading");
  refuse(R"({"axis": "N", "lengths": "y"})", "tensors.x.valid.lengths", "metadata tensor of rank 1");
  refuse(R"({"table": "len", "lengths": "len"})", "tensors.x.valid.table", "metadata tensor of rank 2");
  refuse(R"({"offsets": "x"})", "tensors.x.valid.offsets", "metadata tensor of rank 1");
  refuse(R"({"lengths": "len"})", "tensors.x.valid.axis", "missing");
}

TEST_CASE("a token or head axis is one of the tensor's") {
  check_refused([](Json& t) { t["tensors"]["x"]["along"] = "Q"; }, "tensors.x.along", "\"Q\" is not an axis");
  check_refused([](Json& t) { t["tensors"]["x"]["heads"] = "Q"; }, "tensors.x.heads", "\"Q\" is not an axis");
}

TEST_CASE("a fill's parameter may be a formula over dims and scalars, and nothing else") {
  Json document = small_task_document();
  document["tensors"]["x"]["fill"]["std"] = "2 / (factor * sqrt(D))";
  CHECK(parse_task(document, "// reference", "t").tensor("x").fill[0].formula.contains("std"));
  check_refused([](Json& t) { t["tensors"]["x"]["fill"]["std"] = "2 * Q"; }, "check[0]",
                "\"Q\" is not a known name");
}

TEST_CASE("metadata that follows from lengths names them") {
  check_refused([](Json& t) { t["tensors"]["len"]["fill"] = Json::parse(R"([{"kind": "offsets_of"}])"); },
                "tensors.len.fill[0].lengths", "missing");
  check_refused(
      [](Json& t) {
        t["tensors"]["len"]["fill"] = Json::parse(R"([{"kind": "offsets_of", "lengths": "x"}])");
      },
      "tensors.len.fill.lengths", "not a metadata tensor");
}

TEST_CASE("a comparison takes its own keys and no other's") {
  const auto refuse = [](const char* gates, const char* field, const char* expectation) {
    check_refused([&](Json& t) { t["precision"]["y"] = Json::parse(gates); }, field, expectation);
  };
  refuse(R"({"name": "x", "compare": "close"})", "precision.y.compare", "selection");
  refuse(R"({"name": "x", "compare": "exact", "row": 1})", "precision.y.row", "known here");
  refuse(R"({"name": "x", "compare": "exact", "terms": "N"})", "precision.y.terms", "known here");
  refuse(R"({"name": "x", "compare": "selection"})", "precision.y.over", "missing");
  refuse(R"({"name": "x", "compare": "selection", "over": "N"})", "precision.y.compare", "i32 or i64");
  refuse(R"({"name": "x", "compare": "codes"})", "precision.y.distance", "positive");
  refuse(R"({"name": "x", "compare": "codes", "distance": 1, "bits": 3})", "precision.y.bits",
         "power of two");
  refuse(R"({"name": "x", "compare": "bitmap"})", "precision.y.bits", "integer");
  refuse(R"({"name": "x", "compare": "exact", "per": ["M"]})", "precision.y.per",
         "not an axis beside the rows");
  refuse(R"({"name": "x", "compare": "exact", "tile": 8})", "precision.y.tile", "per");
}

TEST_CASE("a family cannot ask for another sort of comparison than the reference computes") {
  check_refused(
      [](Json& t) {
        t["families"]["large"]["precision"]["y"] = Json{{"name", "x"}, {"compare", "exact"}};
      },
      "families.large.precision.y", "another sort");
}

TEST_CASE("a hidden family is a share") {
  check_refused([](Json& t) { t["families"]["large"]["hidden"] = 1.5; }, "families.large.hidden", "share");
}

TEST_CASE("a property names what its kind needs, and what exists") {
  const auto refuse = [](const char* property, const char* field, const char* expectation) {
    check_refused([&](Json& t) { t["properties"]["p"] = Json::parse(property); }, field, expectation);
  };
  refuse(R"({"kind": "mirror", "outputs": {"y": 1}})", "properties.p.kind", "permute_tokens");
  refuse(R"({"kind": "repeat"})", "properties.p.outputs", "missing");
  refuse(R"({"kind": "repeat", "outputs": {"x": 1}})", "properties.p.outputs", "not an output");
  refuse(R"({"kind": "scale", "outputs": {"y": 1}})", "properties.p.tensors", "missing");
  refuse(R"({"kind": "scale", "tensors": ["y"], "outputs": {"y": 1}})", "properties.p.tensors",
         "not an input");
  refuse(R"({"kind": "permute", "dims": ["Q"], "outputs": {"y": 1}})", "properties.p.dims", "not a dim");
  refuse(R"({"kind": "repeat", "family": "odd", "outputs": {"y": 1}})", "properties.p.family",
         "not a family");
  refuse(R"({"kind": "crop", "dims": ["M"], "from": "tiny", "to": "none", "outputs": {"y": 1}})",
         "properties.p.to", "not a workload");
  refuse(R"({"kind": "repeat", "dims": ["M"], "outputs": {"y": 1}})", "properties.p.dims", "known here");
  // An output without the axis of the tokens would be compared nowhere.
  refuse(R"({"kind": "future", "tensors": ["x"], "dims": ["N", "D"], "outputs": {"y": 1}})",
         "properties.p.dims", "no axis D");
}

TEST_CASE("every kind of property is accepted with the keys of its row") {
  Json document = small_task_document();
  document["properties"] = Json::parse(R"({
    "a": {"kind": "repeat", "outputs": {"y": 1}},
    "b": {"kind": "scale", "tensors": ["x"], "factor": -1, "outputs": {"y": -1}, "exact": false},
    "c": {"kind": "permute_tokens", "tensors": ["x"], "dims": ["N"], "lengths": "len", "outputs": {"y": 1}},
    "d": {"kind": "permute_tokens", "tensors": ["x"], "dims": ["N"], "outputs": {"y": 1}}})");
  const Task task = parse_task(document, "// reference", "t");
  REQUIRE(task.properties.size() == 4);
  CHECK(task.properties[0].is_exact);
  CHECK_FALSE(task.properties[1].is_exact);
  CHECK(task.properties[1].number.at("factor") == -1);
  CHECK(task.properties[2].word.at("lengths") == "len");
  CHECK(task.properties[3].word.empty());
}

TEST_CASE("a roofline formula that cannot be evaluated is refused with the reason") {
  check_refused([](Json& t) { t["roofline"]["flops"] = "4*Q"; }, "roofline", "\"Q\" is not a known name");
  check_refused([](Json& t) { t["roofline"]["bytes"] = "0"; }, "roofline", "bytes > 0");
}

TEST_CASE("an empty reference is refused") {
  CHECK_THROWS_AS(parse_task(small_task_document(), "", "t"), ConfigError);
}

TEST_CASE("a folder without a task is an error that names the file") {
  CHECK_THROWS_AS(load_task(std::filesystem::path(KERNELITES_SOURCE_DIR) / "no_such_task"), ConfigError);
}

TEST_CASE("a folder with a reference.py is a task in Python, and one with both references is refused") {
  TemporaryFolder folder;
  const auto task = folder.path() / "scaled_rows";
  std::filesystem::create_directories(task);
  const auto write = [&](const char* name, const std::string& text) { std::ofstream(task / name) << text; };
  const auto refusal = [&] {
    try {
      load_task(task);
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  write("task.json", small_task_document().dump());
  write("reference.py", "def reference(p): ...");
  const Task loaded = load_task(task);
  CHECK(python_of(loaded) == "python3");
  CHECK(loaded.reference_source == "def reference(p): ...");
  CHECK(python_of(parse_task(loaded.document, loaded.reference_source, "request")) == "python3");
  write("reference.cu", "// kernels");
  CHECK(refusal().find("not both") != std::string::npos);
  std::filesystem::remove(task / "reference.py");
  CHECK(python_of(load_task(task)).empty());
  Json named = small_task_document();
  named["python"] = "/usr/bin/python3";
  write("task.json", named.dump());
  CHECK(refusal().find("python: names an interpreter") != std::string::npos);
}

TEST_CASE("a reference in Python computes no inputs") {
  check_refused(
      [](Json& t) {
        t["python"] = "python3";
        t["tensors"]["x"]["fill"] = {{"kind", "computed"}};
      },
      "tensors.x.fill", "reference.cu");
  check_refused([](Json& t) { t["python"] = 3; }, "python", "string");
}
