// SPDX-License-Identifier: Apache-2.0
// JSON of verdicts and their diagnostics.
#include "engine/core/verdict.h"

namespace kernelites {

void to_json(Json& json, const Diagnostic& diagnostic) {
  json = Json{{"code", diagnostic.code}, {"message", diagnostic.message}, {"line", diagnostic.line}};
}

void from_json(const Json& json, Diagnostic& diagnostic) {
  json.at("code").get_to(diagnostic.code);
  json.at("message").get_to(diagnostic.message);
  json.at("line").get_to(diagnostic.line);
}

void to_json(Json& json, const Verdict& verdict) {
  json = Json{{"is_passed", verdict.is_passed},
              {"stage", verdict.stage},
              {"reason", verdict.reason},
              {"message", verdict.message},
              {"diagnostics", verdict.diagnostics}};
}

void from_json(const Json& json, Verdict& verdict) {
  json.at("is_passed").get_to(verdict.is_passed);
  json.at("stage").get_to(verdict.stage);
  json.at("reason").get_to(verdict.reason);
  json.at("message").get_to(verdict.message);
  json.at("diagnostics").get_to(verdict.diagnostics);
}

}  // namespace kernelites
