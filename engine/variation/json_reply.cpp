// SPDX-License-Identifier: Apache-2.0
// JSON replies: parsed without exceptions, each member checked for its type.
#include "engine/variation/json_reply.h"

#include <fmt/format.h>

#include "engine/llm/foreign_json.h"
#include "engine/variation/fenced_blocks.h"
#include "engine/variation/text_rules.h"

namespace kernelites {
namespace {

Rejection malformed(const std::string& what) {
  return {"json_is_malformed", fmt::format("the JSON answer cannot be used: {}", what)};
}

std::string whole_lines(std::string text) {
  if (!text.empty() && text.back() != '\n') text += '\n';
  return text;
}

std::variant<JsonReply, Rejection> read_object(const Json& object) {
  JsonReply reply;
  if (const auto summary = object.find("summary"); summary != object.end() && summary->is_string())
    reply.summary = summary->get<std::string>();
  const auto source = object.find("source");
  const auto edits = object.find("edits");
  if ((source != object.end()) == (edits != object.end()))
    return malformed("it must have exactly one of \"source\" and \"edits\"");
  if (source != object.end()) {
    if (!source->is_string()) return malformed("\"source\" must be a string");
    reply.source = source->get<std::string>();
    return reply;
  }
  auto list = edits_from_json(*edits);
  if (auto* rejection = std::get_if<Rejection>(&list)) return std::move(*rejection);
  reply.edits = std::get<std::vector<SourceEdit>>(std::move(list));
  return reply;
}

}  // namespace

AnswerSchema json_reply_schema() {
  return {
      .name = "kernel",
      .schema =
          R"({"type":"object","properties":{"summary":{"type":"string"},"source":{"type":"string"},)"
          R"("edits":{"type":"array","items":{"type":"object","properties":{"search":{"type":"string"},)"
          R"("replace":{"type":"string"}},"required":["search","replace"],"additionalProperties":false}}},)"
          R"("required":["summary"],"additionalProperties":false})"};
}

std::variant<std::vector<SourceEdit>, Rejection> edits_from_json(const Json& list) {
  if (!list.is_array() || list.empty()) return malformed("\"edits\" must be a list with at least one edit");
  if (list.size() > k_edits_max)
    return Rejection{"too_many_edits", fmt::format("more than {} edits; send the whole file", k_edits_max)};
  std::vector<SourceEdit> edits;
  for (const Json& item : list) {
    const bool has_both = item.is_object() && item.contains("search") && item.contains("replace");
    if (!has_both || !item["search"].is_string() || !item["replace"].is_string())
      return malformed("every edit must have the strings \"search\" and \"replace\"");
    edits.push_back({whole_lines(with_unix_ends(item["search"].get<std::string>())),
                     whole_lines(with_unix_ends(item["replace"].get<std::string>()))});
  }
  return edits;
}

std::optional<std::variant<JsonReply, Rejection>> read_json_reply(std::string_view reply) {
  const std::size_t begin = reply.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return std::nullopt;
  if (reply[begin] == '{') {
    const Json object = parse_foreign_json(reply.substr(begin));
    if (object.is_discarded()) return malformed("it is not valid JSON");
    if (!object.is_object()) return malformed("it is not an object");
    return read_object(object);
  }
  const std::vector<FencedBlock> blocks = fenced_blocks(reply);
  for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
    if (block->language != "json" || !block->is_closed) continue;
    const Json object = parse_foreign_json(block->text);
    if (object.is_object() && (object.contains("source") || object.contains("edits")))
      return read_object(object);
  }
  return std::nullopt;
}

}  // namespace kernelites
