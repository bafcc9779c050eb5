// SPDX-License-Identifier: Apache-2.0
// Lines of the protocol: JSON, one line each, without its newline.
#include "evaluators/protocol/protocol.h"

#include <fmt/format.h>

#include "engine/core/error.h"
#include "engine/core/json_shape.h"

namespace kernelites {
namespace {

constexpr std::size_t k_quoted_bytes_max = 120;

// Bytes that are no UTF-8 (a compiler's log, a candidate's comment) become U+FFFD instead of ending the run.
std::string line_of(const Json& json) {
  std::string line = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (line.size() > k_line_bytes_max) {
    throw Error(
        fmt::format("protocol: a line of {} bytes exceeds the limit of {}", line.size(), k_line_bytes_max));
  }
  return line;
}

template <typename Read>
auto decode(const char* what, std::string_view line, Read read) {
  try {
    if (line.size() > k_line_bytes_max) throw Error(fmt::format("{} bytes exceed the limit", line.size()));
    if (!is_modest_json(line, k_depth_max))
      throw Error(fmt::format("it nests more than {} levels deep", k_depth_max));
    return read(Json::parse(line));
  } catch (const std::exception& error) {
    throw Error(fmt::format("protocol: not a {}: {}; it begins: {}", what, error.what(),
                            line.substr(0, k_quoted_bytes_max)));
  }
}

/// Whoever compares no times has none: then nobody else's is the same.
template <typename Asked>
Key model_key_of(const Asked& request) {
  return request.model_key == Key{} ? request.key : request.model_key;
}

Key model_key_from(const Json& json, const Key& otherwise) {
  return json.contains("model_key") ? Key::from_hex(json.at("model_key").get<std::string>(), "request")
                                    : otherwise;
}

Json examine_json(const ExamineRequest& request) {
  return Json{{"candidate", request.candidate},
              {"key", request.key.hex()},
              {"is_reexamination", request.is_reexamination},
              {"is_thorough", request.is_thorough},
              {"last_stage", request.last_stage},
              {"wants_modelled", request.wants_modelled},
              {"model_key", model_key_of(request).hex()}};
}

ExamineRequest examine_from_json(const Json& json) {
  const Key key = Key::from_hex(json.at("key").get<std::string>(), "request");
  return {.candidate = json.at("candidate").get<Candidate>(),
          .key = key,
          .is_reexamination = json.at("is_reexamination").get<bool>(),
          .is_thorough = json.value("is_thorough", false),
          .last_stage = json.value("last_stage", std::string()),
          .wants_modelled = json.value("wants_modelled", false),
          .model_key = model_key_from(json, key)};
}

Json duel_json(const DuelRequest& request) {
  Json arms = Json::array();
  for (const DuelArm& arm : request.arms) {
    arms.push_back(Json{{"label", arm.label}, {"candidate", arm.candidate}});
  }
  return Json{{"arms", std::move(arms)},
              {"workloads", request.workloads},
              {"rounds", request.rounds},
              {"confidence", request.confidence},
              {"may_stop_early", request.may_stop_early},
              {"key", request.key.hex()},
              {"model_key", model_key_of(request).hex()}};
}

/// A number out of bounds is the fault of the other side, and must not reach arithmetic.
template <typename T>
T bounded(const Json& json, const char* key, T least, T most) {
  const T value = json.at(key).get<T>();
  if (!(value >= least && value <= most))
    throw Error(fmt::format("{} must be from {} to {}", key, least, most));
  return value;
}

DuelRequest duel_from_json(const Json& json) {
  DuelRequest request;
  for (const Json& arm : json.at("arms")) {
    request.arms.push_back({arm.at("label").get<std::string>(), arm.at("candidate").get<Candidate>()});
  }
  json.at("workloads").get_to(request.workloads);
  request.rounds = bounded<int>(json, "rounds", 1, k_rounds_max);
  if (json.contains("confidence"))
    request.confidence = bounded<double>(json, "confidence", k_confidence_min, k_confidence_max);
  request.may_stop_early = json.value("may_stop_early", request.may_stop_early);
  if (request.arms.empty() || request.arms.size() > k_arms_max)
    throw Error(fmt::format("a duel has 1 to {} arms", k_arms_max));
  if (request.workloads.empty()) throw Error("a duel needs at least one workload");
  request.key = Key::from_hex(json.at("key").get<std::string>(), "request");
  request.model_key = model_key_from(json, request.key);
  return request;
}

Json calibrate_json(const CalibrateRequest& request) {
  return Json{{"candidate", request.candidate}, {"draws", request.draws}, {"key", request.key.hex()}};
}

CalibrateRequest calibrate_from_json(const Json& json) {
  return {.candidate = json.at("candidate").get<Candidate>(),
          .draws = bounded<int>(json, "draws", 1, k_draws_max),
          .key = Key::from_hex(json.at("key").get<std::string>(), "request")};
}

Json profile_json(const ProfileRequest& request) {
  return Json{{"candidate", request.candidate},
              {"workloads", request.workloads},
              {"wants_stalls", request.wants_stalls},
              {"key", request.key.hex()}};
}

ProfileRequest profile_from_json(const Json& json) {
  ProfileRequest request{.candidate = json.at("candidate").get<Candidate>(),
                         .workloads = json.at("workloads").get<std::vector<std::string>>(),
                         .wants_stalls = json.value("wants_stalls", true),
                         .key = Key::from_hex(json.at("key").get<std::string>(), "request")};
  if (request.workloads.empty()) throw Error("a profile needs at least one workload");
  return request;
}

}  // namespace

std::string encode(const Request& request) {
  KERNELITES_ASSERT(request.examine.has_value() + request.duel.has_value() + request.calibrate.has_value() +
                        request.profile.has_value() ==
                    1);
  Json json{{"kernelites_request", k_protocol_version},
            {"id", request.id},
            {"device", request.device},
            {"deadline_s", request.deadline_s},
            {"task_document", request.task_document},
            {"reference_source", request.reference_source}};
  if (request.examine) json["examine"] = examine_json(*request.examine);
  if (request.duel) json["duel"] = duel_json(*request.duel);
  if (request.calibrate) json["calibrate"] = calibrate_json(*request.calibrate);
  if (request.profile) json["profile"] = profile_json(*request.profile);
  return line_of(json);
}

std::string request_id_of(std::string_view line) {
  if (line.size() > k_line_bytes_max || !is_modest_json(line, k_depth_max)) return "";
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("id") || !json.at("id").is_string()) return "";
  return json.at("id").get<std::string>();
}

Request decode_request(std::string_view line) {
  return decode("request", line, [](const Json& json) {
    if (json.at("kernelites_request") != k_protocol_version) throw Error("another protocol version");
    Request request{.id = json.at("id").get<std::string>(),
                    .device = json.at("device").get<std::string>(),
                    .task_document = json.at("task_document"),
                    .reference_source = json.at("reference_source").get<std::string>(),
                    .deadline_s = bounded<double>(json, "deadline_s", 0.001, k_deadline_s_max),
                    .examine = {},
                    .duel = {},
                    .calibrate = {}};
    if (json.contains("examine") + json.contains("duel") + json.contains("calibrate") +
            json.contains("profile") !=
        1)
      throw Error("expected one of examine, duel, calibrate and profile");
    if (json.contains("examine")) request.examine = examine_from_json(json.at("examine"));
    if (json.contains("duel")) request.duel = duel_from_json(json.at("duel"));
    if (json.contains("calibrate")) request.calibrate = calibrate_from_json(json.at("calibrate"));
    if (json.contains("profile")) request.profile = profile_from_json(json.at("profile"));
    return request;
  });
}

std::string encode(const Reply& reply) {
  Json json{{"kernelites_reply", k_protocol_version},
            {"id", reply.id},
            {"error", reply.error},
            {"provenance", reply.provenance},
            {"worker_s", reply.worker_s},
            {"device_s", reply.device_s}};
  if (reply.examination) json["examination"] = *reply.examination;
  if (reply.duel) json["duel"] = *reply.duel;
  if (reply.calibration) json["calibration"] = *reply.calibration;
  if (reply.profile)
    json["profile"] = {{"verdict", reply.profile->verdict}, {"reports", reply.profile->reports}};
  return line_of(json);
}

Reply decode_reply(std::string_view line) {
  return decode("reply", line, [](const Json& json) {
    if (json.at("kernelites_reply") != k_protocol_version) throw Error("another protocol version");
    Reply reply{.id = json.at("id").get<std::string>(),
                .error = json.at("error").get<std::string>(),
                .provenance = json.at("provenance").get<Provenance>(),
                .worker_s = json.at("worker_s").get<double>(),
                .device_s = json.at("device_s").get<double>(),
                .examination = {},
                .duel = {},
                .calibration = {}};
    if (json.contains("examination")) reply.examination = json.at("examination").get<Examination>();
    if (json.contains("duel")) reply.duel = json.at("duel").get<Duel>();
    if (json.contains("calibration")) reply.calibration = json.at("calibration").get<Calibration>();
    if (json.contains("profile"))
      reply.profile =
          Profile{.verdict = json.at("profile").at("verdict").get<Verdict>(),
                  .reports = json.at("profile").at("reports").get<std::map<std::string, CounterReport>>()};
    return reply;
  });
}

std::string encode(const Greeting& greeting) {
  return line_of(Json{{"kernelites_worker", greeting.version},
                      {"provenance", greeting.provenance},
                      {"problem", greeting.problem}});
}

// A greeting of another version is still a greeting: the pool names both versions when it refuses the worker.
Greeting decode_greeting(std::string_view line) {
  return decode("greeting", line, [](const Json& json) {
    Greeting greeting{.version = json.at("kernelites_worker").get<int>(), .provenance = {}, .problem = {}};
    if (greeting.version != k_protocol_version) return greeting;
    json.at("provenance").get_to(greeting.provenance);
    json.at("problem").get_to(greeting.problem);
    return greeting;
  });
}

}  // namespace kernelites
