// SPDX-License-Identifier: Apache-2.0
// The reply as one JSON object, for endpoints that can be held to a schema.
//
//   {"summary": "what and why", "source": "<the whole file>"}
//   {"summary": "what and why", "edits": [{"search": "<lines>", "replace": "<lines>"}]}
// Exactly one of `source` and `edits`; other members are ignored, so that a model may think in one of them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/variation/operator.h"
#include "engine/variation/source_edit.h"

namespace kernelites {

/// What the object holds.
struct JsonReply {
  std::string summary;
  std::optional<std::string> source;
  std::vector<SourceEdit> edits;
};

/// The schema for ModelRequest::answer_schema.
AnswerSchema json_reply_schema();

/// Reads the reply if it is of this form: all of it, or its last ```json block, is an object with `source` or
/// `edits`. Nothing if it is not; a Rejection ("json_is_malformed") if it wants to be and fails.
std::optional<std::variant<JsonReply, Rejection>> read_json_reply(std::string_view reply);

/// Edits from a JSON list of {"search", "replace"}; missing final newlines are added. Rejections:
/// json_is_malformed, too_many_edits.
std::variant<std::vector<SourceEdit>, Rejection> edits_from_json(const Json& list);

}  // namespace kernelites
