// SPDX-License-Identifier: Apache-2.0
// From table rows to snippets, and from snippets to PTX.
#include "tests/vgpu/recorded/recorded_snippet.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "engine/core/error.h"
#include "engine/core/rng.h"
#include "tests/vgpu/recorded/operand_values.h"

namespace kernelites::recorded {
namespace {

using Choices = std::vector<std::string>;

/// A name with its choices so far; `rest` still has alternatives.
void choose(const std::string& done, std::string_view rest, const Choices& choices,
            std::vector<std::pair<std::string, Choices>>& out) {
  const std::size_t open = rest.find('<');
  if (open == rest.npos) {
    out.emplace_back(done + std::string(rest), choices);
    return;
  }
  const std::size_t close = rest.find('>', open);
  if (close == rest.npos) throw Error(fmt::format("no > in {}", rest));
  std::string_view list = rest.substr(open + 1, close - open - 1);
  while (true) {
    const std::size_t comma = list.find(',');
    Choices more = choices;
    more.emplace_back(list.substr(0, comma));
    choose(done + std::string(rest.substr(0, open)) + more.back(), rest.substr(close + 1), more, out);
    if (comma == list.npos) break;
    list.remove_prefix(comma + 1);
  }
}

std::string substitute(std::string_view text, const std::string& name, const Choices& choices) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '$' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const std::size_t index = static_cast<std::size_t>(text[++i] - '0');
    if (index > choices.size()) throw Error(fmt::format("{} has no choice ${}", name, index));
    out += index == 0 ? name.substr(0, name.find(' ')) : choices[index - 1];
  }
  return out;
}

/// "b[2]:f16x2/w" appended as b0, b1; returns how the instruction names it: "{b0, b1}".
std::string add_operand(std::string_view text, std::vector<SnippetOperand>& operands) {
  const std::size_t colon = text.find(':'), slash = text.find('/');
  if (colon == text.npos) throw Error(fmt::format("no type in operand {}", text));
  const std::string_view name = text.substr(0, colon);
  SnippetOperand operand;
  operand.type = text.substr(colon + 1, slash == text.npos ? text.npos : slash - colon - 1);
  if (slash != text.npos) operand.profile = text.substr(slash + 1);
  operand.bytes = register_bytes(operand.type);
  const std::size_t bracket = name.find('[');
  if (bracket == name.npos) {
    operand.name = name;
    operands.push_back(operand);
    return operand.name;
  }
  const int count = std::stoi(std::string(name.substr(bracket + 1)));
  std::string vector = "{";
  for (int k = 0; k < count; ++k) {
    operand.name = fmt::format("{}{}", name.substr(0, bracket), k);
    operands.push_back(operand);
    vector += (k == 0 ? "" : ", ") + operand.name;
  }
  return vector + "}";
}

Snippet make_snippet(const std::string& family, const Row& row, const std::string& name,
                     const Choices& choices) {
  Snippet snippet{.family = family,
                  .name = name,
                  .body = substitute(row.body, name, choices),
                  .inputs = {},
                  .outputs = {},
                  .rule = row.rule,
                  .warps = row.warps,
                  .blocks = row.blocks,
                  .map = row.map};
  const std::string text = substitute(row.operands, name, choices);
  const std::size_t arrow = text.find("->");
  if (arrow == text.npos) throw Error(fmt::format("no results in the operands of {}", name));
  std::string results, sources;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    if (end > at && at != arrow) {
      const bool is_result = at > arrow;
      const std::string shown = add_operand(std::string_view(text).substr(at, end - at),
                                            is_result ? snippet.outputs : snippet.inputs);
      std::string& list = is_result ? results : sources;
      list += (list.empty() ? "" : is_result && shown != "d" ? "|" : ", ") + shown;
    }
    at = end + 1;
  }
  if (snippet.body.empty())
    snippet.body = fmt::format("{} {}, {};", name.substr(0, name.find(' ')), results, sources);
  return snippet;
}

const char* register_type(unsigned bytes) { return bytes == 2 ? ".b16" : bytes == 4 ? ".b32" : ".b64"; }

}  // namespace

std::size_t operand_offset(const Snippet& snippet, std::span<const SnippetOperand> operands,
                           std::size_t index) {
  std::size_t offset = 0;
  for (std::size_t k = 0; k < index; ++k) offset += std::size_t{operands[k].bytes} * snippet.threads();
  return offset;
}
std::size_t input_bytes(const Snippet& snippet) {
  return operand_offset(snippet, snippet.inputs, snippet.inputs.size());
}
std::size_t output_bytes(const Snippet& snippet) {
  return operand_offset(snippet, snippet.outputs, snippet.outputs.size());
}

std::vector<std::byte> draw_inputs(const Snippet& snippet) {
  std::vector<std::byte> bytes(input_bytes(snippet));
  Rng rng = Rng::keyed(1, 0, snippet.name);
  std::byte* at = bytes.data();
  for (const SnippetOperand& operand : snippet.inputs) {
    for (unsigned lane = 0; lane < snippet.threads(); ++lane, at += operand.bytes) {
      const std::uint64_t value = draw_register(operand.type, operand.profile, rng);
      std::memcpy(at, &value, operand.bytes);
    }
  }
  return bytes;
}

std::string module_text(const Snippet& snippet) {
  std::string text = fmt::format(
      ".version 8.6\n.target sm_90a\n.address_size 64\n"
      ".visible .entry snippet(.param .u64 in, .param .u64 out, .param .u64 zeroed{})\n{{\n",
      snippet.map ? ", .param .align 64 .b8 tensor_map[128]" : "");
  text +=
      ".reg .b64 %in, %out, %at, scratch;\n.reg .b32 %bits, thread, lane, warp;\n.reg .pred %is_set;\n"
      "ld.param.u64 %in, [in];\nld.param.u64 %out, [out];\nld.param.u64 scratch, [zeroed];\n"
      "mov.u32 thread, %tid.x;\n";
  if (snippet.blocks > 1)
    text += fmt::format(
        ".reg .b32 rank, tid;\nmov.u32 tid, thread;\nmov.u32 rank, %ctaid.x;\n"
        "mad.lo.u32 thread, rank, {}, tid;\n",
        32 * snippet.warps);
  text += "mov.u32 lane, %laneid;\nshr.u32 warp, thread, 5;\n";
  if (snippet.map) text += ".reg .b64 map;\nmov.b64 map, tensor_map;\ncvta.param.u64 map, map;\n";
  for (std::size_t k = 0; k < snippet.inputs.size(); ++k) {
    const SnippetOperand& operand = snippet.inputs[k];
    const bool is_predicate = operand.type == "pred";
    const char* type = register_type(operand.bytes);
    text += fmt::format(".reg {} {};\nmad.wide.u32 %at, thread, {}, %in;\nld.global{} {}, [%at+{}];\n",
                        is_predicate ? ".pred" : type, operand.name, operand.bytes, type,
                        is_predicate ? "%bits" : operand.name, operand_offset(snippet, snippet.inputs, k));
    if (is_predicate) text += fmt::format("setp.ne.u32 {}, %bits, 0;\n", operand.name);
  }
  for (const SnippetOperand& operand : snippet.outputs)
    text += fmt::format(".reg {} {};\n", operand.type == "pred" ? ".pred" : register_type(operand.bytes),
                        operand.name);
  text += "{\n" + snippet.body + "\n}\n";
  for (std::size_t k = 0; k < snippet.outputs.size(); ++k) {
    const SnippetOperand& operand = snippet.outputs[k];
    const bool is_predicate = operand.type == "pred";
    if (is_predicate) text += fmt::format("selp.u32 %bits, 1, 0, {};\n", operand.name);
    text += fmt::format("mad.wide.u32 %at, thread, {}, %out;\nst.global{} [%at+{}], {};\n", operand.bytes,
                        register_type(operand.bytes), operand_offset(snippet, snippet.outputs, k),
                        is_predicate ? "%bits" : operand.name);
  }
  return text + "ret;\n}\n";
}

std::vector<Snippet> expand(const std::string& family, std::span<const Row> rows) {
  std::vector<Snippet> snippets;
  for (const Row& row : rows) {
    std::vector<std::pair<std::string, Choices>> names;
    choose("", row.name, {}, names);
    for (const auto& [name, choices] : names) snippets.push_back(make_snippet(family, row, name, choices));
  }
  return snippets;
}

}  // namespace kernelites::recorded
