// SPDX-License-Identifier: Apache-2.0
// Definitions and workloads in FlashInfer-Bench's schema become tasks, or one sentence that names the field.
#include "tools/flashinfer_import.h"

#include <fmt/format.h>

#include <fstream>

#include "engine/core/error.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"
#include "tools/readable_json.h"

using namespace kernelites;
namespace fs = std::filesystem;

namespace {

/// A definition with constant and variable axes, and inputs of type bfloat16.
Json definition(const std::string& name, const std::string& op_type,
                const std::vector<std::pair<std::string, int>>& axes,
                const std::vector<std::string>& inputs) {
  Json json{{"name", name},
            {"op_type", op_type},
            {"axes", Json::object()},
            {"inputs", Json::object()},
            {"outputs", {{"output", {{"shape", Json::array()}, {"dtype", "bfloat16"}}}}},
            {"reference", "import torch\n\ndef run():\n    pass"}};
  for (const auto& [axis, value] : axes) {
    if (value > 0)
      json["axes"][axis] = {{"type", "const"}, {"value", value}};
    else
      json["axes"][axis] = {{"type", "var"}, {"description", "bound by a workload"}};
  }
  for (const std::string& input : inputs)
    json["inputs"][input] = {{"shape", Json::array()}, {"dtype", "bfloat16"}};
  return json;
}

Json rmsnorm() {
  return definition("rmsnorm_h4096", "rmsnorm", {{"batch_size", 0}, {"hidden_size", 4096}},
                    {"hidden_states", "weight"});
}
Json gqa() {
  return definition("gqa_paged_decode_h32_kv8_d128_ps16", "gqa_paged",
                    {{"batch_size", 0},
                     {"num_pages", 0},
                     {"len_indptr", 0},
                     {"num_kv_indices", 0},
                     {"num_qo_heads", 32},
                     {"num_kv_heads", 8},
                     {"head_dim", 128},
                     {"page_size", 16}},
                    {"q", "k_cache", "v_cache"});
}
Json mla() {
  return definition("mla_paged_decode_h16_ckv512_kpe64_ps64", "mla_paged",
                    {{"batch_size", 0},
                     {"num_pages", 0},
                     {"num_kv_indices", 0},
                     {"num_qo_heads", 16},
                     {"head_dim_ckv", 512},
                     {"head_dim_kpe", 64},
                     {"page_size", 64}},
                    {"q_nope", "q_pe", "ckv_cache", "kpe_cache"});
}
Json ragged() {
  return definition("gqa_ragged_prefill_causal_h28_kv4_d128", "gqa_ragged",
                    {{"total_q", 0},
                     {"total_kv", 0},
                     {"len_indptr", 0},
                     {"num_qo_heads", 28},
                     {"num_kv_heads", 4},
                     {"head_dim", 128}},
                    {"q", "k", "v"});
}

std::string trace(const Json& of, const std::string& uuid, const Json& axes) {
  return Json{{"definition", of.at("name")},
              {"workload", {{"uuid", uuid}, {"axes", axes}, {"inputs", {{"q", {{"type", "random"}}}}}}},
              {"solution", nullptr},
              {"evaluation", nullptr}}
             .dump() +
         "\n";
}

FlashinferTask import(const Json& of, const std::string& lines) {
  TemporaryFolder folder;
  const fs::path json = folder.path() / "definition.json", jsonl = folder.path() / "workloads.jsonl";
  std::ofstream(json) << of.dump(2);
  std::ofstream(jsonl) << lines;
  return import_flashinfer({json, jsonl}, "mine", DataRoot{KERNELITES_SOURCE_DIR});
}

/// The imported task is one that the reader accepts, with these dims in its first bench shape.
void check_imported(const Json& of, const Json& axes, const std::string& operation,
                    const std::map<std::string, std::int64_t>& dims) {
  INFO(of.at("name"));
  const FlashinferTask imported = import(of, trace(of, "6120f144-b973", axes));
  CHECK(imported.operation == operation);
  CHECK_FALSE(imported.remarks.empty());
  const Json document = parse_json(readable_json(imported.document), "task.json");
  CHECK(document == imported.document);
  const Task task = parse_task(document, "// reference", "task.json");
  CHECK(task.name == "mine");
  REQUIRE(task.bench.size() == 1);
  CHECK(task.bench.front().name == "fib_6120f144");
  for (const auto& [dim, value] : dims) {
    INFO(dim);
    CHECK(task.bench.front().dims.at(dim) == value);
  }
}

void check_refused(Json of, const std::function<void(Json&)>& spoil, const std::string& lines,
                   const std::string& field) {
  spoil(of);
  try {
    import(of, lines);
    FAIL("accepted; expected an error about " << field);
  } catch (const ConfigError& error) {
    const std::string text = error.what();
    INFO(text);
    CHECK(text.find(field) != std::string::npos);
  }
}

}  // namespace

TEST_CASE("definitions of the operators in common become tasks with the workloads' shapes") {
  check_imported(rmsnorm(), {{"batch_size", 37}}, "rmsnorm", {{"M", 37}, {"N", 4096}});
  // 100 pages for 3 sequences: 34 each.
  check_imported(gqa(), {{"batch_size", 3}, {"num_pages", 5000}, {"len_indptr", 4}, {"num_kv_indices", 100}},
                 "gqa_decode_paged",
                 {{"B", 3}, {"Hq", 32}, {"Hkv", 8}, {"S", 544}, {"PS", 16}, {"P", 103}, {"D", 128}});
  check_imported(mla(), {{"batch_size", 2}, {"num_pages", 900}, {"num_kv_indices", 20}}, "mla_decode_paged",
                 {{"B", 2}, {"Hq", 16}, {"S", 640}, {"P", 21}});
  check_imported(ragged(), {{"total_q", 1000}, {"total_kv", 1000}, {"len_indptr", 8}}, "gqa_prefill_varlen",
                 {{"B", 7}, {"T", 1000}, {"Hq", 28}, {"Hkv", 4}, {"D", 128}});
}

TEST_CASE("equal shapes become one with their number as weight, and of many shapes eight of all sizes stay") {
  std::string lines;
  for (int i = 0; i < 30; ++i)
    lines += trace(rmsnorm(), fmt::format("{:08d}-x", i), {{"batch_size", 1 + i / 2}});
  lines +=
      trace(rmsnorm(), "00000029-x", {{"batch_size", 15}});  // the same uuid: a trace of another solution
  const Json bench = import(rmsnorm(), lines).document.at("bench");
  REQUIRE(bench.size() == k_flashinfer_shapes_max);
  CHECK(bench.front().at("dims").at("M") == 1);
  CHECK(bench.back().at("dims").at("M") == 15);
  for (const Json& shape : bench) CHECK(shape.at("weight") == 2);
}

TEST_CASE("without workloads the task keeps its shapes under the definition's constant axes") {
  const FlashinferTask imported = import(gqa(), "");
  const Task task = parse_task(imported.document, "// reference", "task.json");
  CHECK(task.bench.size() > 1);
  for (const Workload& workload : task.bench) {
    CHECK(workload.dims.at("Hq") == 32);
    CHECK(workload.dims.at("P") > workload.dims.at("B") * (workload.dims.at("S") / 16));
  }
}

TEST_CASE("chunked prefill workloads are left out and told") {
  const FlashinferTask imported = import(
      ragged(), trace(ragged(), "aaaaaaaa", {{"total_q", 64}, {"total_kv", 512}, {"len_indptr", 2}}) +
                    trace(ragged(), "bbbbbbbb", {{"total_q", 64}, {"total_kv", 64}, {"len_indptr", 2}}));
  CHECK(imported.document.at("bench").size() == 1);
  CHECK(imported.document.at("bench").front().at("name") == "fib_bbbbbbbb");
  CHECK(std::any_of(imported.remarks.begin(), imported.remarks.end(),
                    [](const std::string& remark) { return remark.find("1 workloads are left out") == 0; }));
}

TEST_CASE("what a task does not cover is refused with the field's name") {
  const auto nothing = [](Json&) {};
  check_refused(
      rmsnorm(), [](Json& d) { d["op_type"] = "gemm"; }, "", "op_type");
  check_refused(
      rmsnorm(), [](Json& d) { d["inputs"]["residual"] = d["inputs"]["weight"]; }, "", "inputs.residual");
  check_refused(
      rmsnorm(), [](Json& d) { d["inputs"]["weight"]["dtype"] = "float16"; }, "", "inputs.weight.dtype");
  check_refused(
      rmsnorm(),
      [](Json& d) {
        d["axes"]["hidden_size"] = {{"type", "var"}};
      },
      "", "axes.hidden_size");
  check_refused(
      rmsnorm(), [](Json& d) { d.erase("axes"); }, "", "axes");
  check_refused(
      gqa(), [](Json& d) { d["axes"]["head_dim"]["value"] = 96; }, "", "axes.head_dim.value");
  check_refused(
      gqa(), [](Json& d) { d["inputs"]["qo_indptr"] = d["inputs"]["q"]; }, "", "inputs.qo_indptr");
  check_refused(
      mla(), [](Json& d) { d["axes"]["page_size"]["value"] = 1; }, "", "axes.page_size.value");
  check_refused(
      ragged(), [](Json& d) { d["name"] = "gqa_ragged_prefill_h28_kv4_d128"; }, "", "name");
  check_refused(rmsnorm(), nothing, trace(gqa(), "u", {{"batch_size", 1}}), "definition");
  check_refused(rmsnorm(), nothing, trace(rmsnorm(), "u", {{"batch_size", 0}}), "workload.axes.batch_size");
  check_refused(rmsnorm(), nothing, trace(rmsnorm(), "u", Json::object()), "workload.axes.batch_size");
  check_refused(rmsnorm(), nothing, "{\"definition\": ", "line 1");
  check_refused(rmsnorm(), nothing, rmsnorm().dump(), "op_type");
}
