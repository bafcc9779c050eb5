// SPDX-License-Identifier: Apache-2.0
// Requests, replies and greetings survive the way over a line; what is no such line is an error that shows
// it.
#include "evaluators/protocol/protocol.h"

#include <limits>

#include "engine/core/error.h"
#include "tests/support/catch.h"

using namespace kernelites;

namespace {

Request examine_request() {
  return {.id = "7-examine",
          .device = "vgpu",
          .task_document = Json{{"name", "rmsnorm"}, {"dims", {{"M", Json::object()}}}},
          .reference_source = "line 1\nline 2",
          .deadline_s = 30,
          .examine = ExamineRequest{.candidate = {"__global__", {{"BN", 64}}},
                                    .key = Key::fixed("a"),
                                    .is_reexamination = true,
                                    .is_thorough = true,
                                    .wants_modelled = true},
          .duel = {}};
}

Reply full_reply() {
  Examination examination;
  examination.verdict = Verdict::failed("check", "wrong_values", "rows differ");
  examination.descriptors = {{"movement", "cp_async"}};
  examination.kernels = {
      {.kernel = "split_kv<4>", .registers = 96, .spill_load_bytes = 8, .threads_max = 128}};
  examination.plans = {{"llama", {.unsupported = "no", .launches = {}, .workspaces = {}, .tensor_maps = {}}}};
  examination.counts.opcodes = {{"mma.sync", 3}};
  examination.counts.sass = {{"HMMA", 6}};
  examination.checks = {
      {.output = "o", .worst_row = std::numeric_limits<double>::infinity(), .gate_row = 4e-3}};
  examination.modelled_us = {{"llama", 12.5}};
  examination.notes = {"a note"};
  examination.code_digest = "abc";
  examination.stage_ms = {{"plan", 66.5}};
  examination.counters = {
      {"llama", {.problem = "tensor: no", .readings = {{"dram_read_bytes", 12.5, "bytes", "read"}}}}};
  examination.stages = {{.stage = "check",
                         .outcome = "unchecked",
                         .wall_s = 1.5,
                         .device_s = 0.5,
                         .counts = {{"rows", 12}},
                         .remark = "a remark"}};
  Duel duel;
  duel.verdict = Verdict::passed();
  duel.arms = {"candidate", "incumbent"};
  duel.timing = {{"llama", {{10, 9, 11, 30, true}, {12, 11, 13, 30, false}}}};
  duel.modelled = {{"llama", {{"split_kv<4>", 9.5, "DRAM", 0.5, 1.5, {{"blocks", 264}}}}}};
  duel.ratio = {{"llama", {{-0.18, -0.2, -0.1, 0.95, 30}}}};
  Reply reply{.id = "7", .error = "", .provenance = {}, .worker_s = 1.5, .device_s = 0.5};
  reply.provenance = {
      "digest", k_harness_version, "NVRTC 13.0", {.kind = "NVIDIA H100", .architecture = "sm_90a"}};
  reply.examination = examination;
  reply.duel = duel;
  return reply;
}

}  // namespace

TEST_CASE("an examine request survives the way over a line") {
  const Request request = examine_request();
  const Request read = decode_request(encode(request));
  CHECK(read.id == request.id);
  CHECK(read.device == request.device);
  CHECK(read.task_document == request.task_document);
  CHECK(read.reference_source == request.reference_source);
  CHECK(read.deadline_s == request.deadline_s);
  REQUIRE(read.examine.has_value());
  CHECK_FALSE(read.duel.has_value());
  CHECK(read.examine->candidate == request.examine->candidate);
  CHECK(read.examine->key == request.examine->key);
  CHECK(read.examine->is_reexamination);
  CHECK(read.examine->is_thorough);
  CHECK(read.examine->wants_modelled);
}

TEST_CASE("a duel request survives the way over a line") {
  Request request = examine_request();
  request.examine.reset();
  request.duel = DuelRequest{.arms = {{"candidate", {"a", {}}}, {"incumbent", {"b", {{"BN", 32}}}}},
                             .workloads = {"llama"},
                             .rounds = 12,
                             .key = Key::fixed("b")};
  const Request read = decode_request(encode(request));
  REQUIRE(read.duel.has_value());
  REQUIRE(read.duel->arms.size() == 2);
  CHECK(read.duel->arms[1].label == "incumbent");
  CHECK(read.duel->arms[1].candidate == request.duel->arms[1].candidate);
  CHECK(read.duel->workloads == request.duel->workloads);
  CHECK(read.duel->rounds == 12);
  CHECK(read.duel->key == request.duel->key);
}

TEST_CASE("the key of modelled times goes with a request, and is the request's own where there is none") {
  Request request = examine_request();
  request.examine->model_key = Key::fixed("run");
  CHECK(decode_request(encode(request)).examine->model_key == Key::fixed("run"));
  request.examine->model_key = Key{};
  CHECK(decode_request(encode(request)).examine->model_key == request.examine->key);
  request.examine.reset();
  request.duel = DuelRequest{.arms = {{"candidate", {"a", {}}}},
                             .workloads = {"llama"},
                             .key = Key::fixed("b"),
                             .model_key = Key::fixed("run")};
  CHECK(decode_request(encode(request)).duel->model_key == Key::fixed("run"));
  request.duel->model_key = Key{};
  CHECK(decode_request(encode(request)).duel->model_key == Key::fixed("b"));
  // Whoever wrote a batch before there was one.
  Json line = Json::parse(encode(request));
  line.at("duel").erase("model_key");
  CHECK(decode_request(line.dump()).duel->model_key == Key::fixed("b"));
}

TEST_CASE("a reply with examination and duel survives the way over a line") {
  const std::string line = encode(full_reply());
  const Reply read = decode_reply(line);
  CHECK(encode(read) == line);  // every field is written, so equal lines are equal replies
  REQUIRE(read.examination.has_value());
  CHECK(read.examination->verdict == full_reply().examination->verdict);
  CHECK(read.examination->checks[0].worst_row == std::numeric_limits<double>::infinity());
  CHECK(read.examination->plans.at("llama").unsupported == "no");
  REQUIRE(read.duel.has_value());
  CHECK(read.examination->counts.sass.at("HMMA") == 6);
  CHECK(read.duel->timing.at("llama")[0].is_modelled);
  CHECK(read.duel->modelled.at("llama")[0].counts.at("blocks") == 264);
  CHECK(read.duel->ratio.at("llama")[0].log_ratio_median == -0.18);
  CHECK(read.provenance.device.kind == "NVIDIA H100");
}

TEST_CASE("a profile request and its reply survive the way over a line") {
  Request request = examine_request();
  request.examine.reset();
  request.profile = ProfileRequest{
      .candidate = {"a", {{"BN", 3}}}, .workloads = {"llama"}, .wants_stalls = false, .key = Key::fixed("c")};
  const Request read = decode_request(encode(request));
  REQUIRE(read.profile.has_value());
  CHECK(read.profile->candidate == request.profile->candidate);
  CHECK(read.profile->workloads == request.profile->workloads);
  CHECK_FALSE(read.profile->wants_stalls);
  CHECK(read.profile->key == request.profile->key);

  Reply reply = full_reply();
  reply.examination.reset();
  reply.duel.reset();
  reply.profile = Profile{.verdict = Verdict::passed(), .reports = full_reply().examination->counters};
  const std::string line = encode(reply);
  CHECK(encode(decode_reply(line)) == line);
  CHECK(decode_reply(line).profile->reports == reply.profile->reports);
}

TEST_CASE("how a measured time was taken survives the way over a line, and a modelled one has none of it") {
  Reply reply = full_reply();
  reply.duel->timing.at("llama")[0].launches_each = 7;
  reply.duel->timing.at("llama")[1].launches_each = 32;
  reply.duel->timing.at("llama")[1].clock_ghz = 1.98;
  reply.duel->timing.at("llama")[1].discarded = 2;
  const Reply read = decode_reply(encode(reply));
  CHECK(read.duel->timing.at("llama")[0].launches_each == 1);
  CHECK(read.duel->timing.at("llama")[1].launches_each == 32);
  CHECK(read.duel->timing.at("llama")[1].clock_ghz == 1.98);
  CHECK(read.duel->timing.at("llama")[1].discarded == 2);
}

TEST_CASE("a reply that is only an error survives the way over a line") {
  const Reply read = decode_reply(encode(Reply{.id = "9", .error = "no device"}));
  CHECK(read.error == "no device");
  CHECK_FALSE(read.examination.has_value());
  CHECK_FALSE(read.duel.has_value());
}

TEST_CASE("a greeting survives the way over a line") {
  Greeting greeting;
  greeting.problem = "no CUDA driver";
  greeting.provenance.toolkit = "NVRTC 13.0";
  const Greeting read = decode_greeting(encode(greeting));
  CHECK(read.version == k_protocol_version);
  CHECK(read.problem == "no CUDA driver");
  CHECK(read.provenance.toolkit == "NVRTC 13.0");
}

TEST_CASE("a greeting of another version is read for its version only") {
  CHECK(decode_greeting(R"({"kernelites_worker": 99})").version == 99);
}

TEST_CASE("an encoded line holds no newline, whatever the source holds") {
  CHECK(encode(examine_request()).find('\n') == std::string::npos);
}

TEST_CASE("text that is not UTF-8 does not end the run") {
  Reply reply{.id = "1", .error = "log: \xff\xfe"};
  CHECK(decode_reply(encode(reply)).error.starts_with("log: "));
}

TEST_CASE("a line that is not of the protocol is an error that shows its beginning") {
  for (const char* line :
       {"", "hello", "[]", "{}", R"({"kernelites_reply": 2, "id": "1"})", R"({"kernelites_reply": 1})"}) {
    INFO(line);
    CHECK_THROWS_AS(decode_reply(line), Error);
    CHECK_THROWS_AS(decode_request(line), Error);
    CHECK_THROWS_AS(decode_greeting(line), Error);
  }
  CHECK_THROWS_WITH(decode_reply("hello"), Catch::Contains("it begins: hello"));
}

TEST_CASE("a request with both verbs or none is refused") {
  Json json = Json::parse(encode(examine_request()));
  json["duel"] = Json::object();
  CHECK_THROWS_AS(decode_request(json.dump()), Error);
  json.erase("duel");
  json.erase("examine");
  CHECK_THROWS_AS(decode_request(json.dump()), Error);
}

TEST_CASE("a line that nests without end is an error, and has no id") {
  for (const std::string opening : {"[", "{\"a\":"}) {
    std::string line = R"({"kernelites_request": 1, "id": "x", "device": "vgpu", "task_document": )";
    for (int i = 0; i < 200'000; ++i) line += opening;
    CHECK_THROWS_WITH(decode_request(line), Catch::Contains("levels deep"));
    CHECK_THROWS_AS(decode_reply(line), Error);
    CHECK(request_id_of(line).empty());
  }
  CHECK(request_id_of(R"({"id": "x", "text": "[[[[ \" [[[["})") == "x");
}

TEST_CASE("brackets in texts do not count as nesting") {
  Request request = examine_request();
  request.reference_source.assign(1000, '[');
  request.reference_source += "\"\\";
  CHECK(decode_request(encode(request)).reference_source == request.reference_source);
}

TEST_CASE("a torn line is an error") {
  const std::string line = encode(full_reply());
  CHECK_THROWS_AS(decode_reply(line.substr(0, line.size() / 2)), Error);
}

TEST_CASE("a line beyond the limit is refused on the way out") {
  Request request = examine_request();
  request.reference_source.assign(k_line_bytes_max, 'x');
  CHECK_THROWS_AS(encode(request), Error);
}
