// SPDX-License-Identifier: Apache-2.0
// What kinds of kernels there are, what bounds each, and which task covers it: the table in kernel_patterns.json.
#include "tools/rank/kernel_kinds.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "engine/core/embedded_file.h"
#include "engine/core/error.h"

namespace kernelites {

extern const std::vector<EmbeddedFile> k_rank_files;

namespace {

constexpr std::string_view k_bounds[] = {"memory", "compute", "latency", "network"};

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

bool holds_any(const std::string& name, const std::vector<std::string>& words) {
  return std::any_of(words.begin(), words.end(),
                     [&](const std::string& word) { return name.find(word) != std::string::npos; });
}

KernelKind parse_kind(const Json& json, const std::string& where, const std::string& path) {
  ObjectReader reader(json, where, path);
  KernelKind kind{.kind = reader.required<std::string>("kind"),
                  .bound = reader.required<std::string>("bound"),
                  .task = reader.optional<std::string>("task", ""),
                  .note = reader.optional<std::string>("note", ""),
                  .decode_task = reader.optional<std::string>("decode_task", ""),
                  .kernel = reader.optional<std::vector<std::string>>("kernel", {}),
                  .operation = reader.optional<std::vector<std::string>>("operation", {})};
  reader.finish();
  if (std::find(std::begin(k_bounds), std::end(k_bounds), kind.bound) == std::end(k_bounds))
    reader.fail("bound", "must be memory, compute, latency or network");
  if (kind.kernel.empty() && kind.operation.empty())
    reader.fail("kernel", "needs a word, here or in \"operation\"");
  for (auto* words : {&kind.kernel, &kind.operation})
    for (std::string& word : *words) word = lower(word);
  return kind;
}

}  // namespace

std::vector<KernelKind> parse_kernel_kinds(const Json& document, const std::string& where) {
  ObjectReader reader(document, where);
  const Json& rows = reader.member("rows");
  reader.finish();
  if (!rows.is_array()) reader.fail("rows", "must be a list");
  std::vector<KernelKind> kinds;
  for (const Json& row : rows) kinds.push_back(parse_kind(row, where, fmt::format("rows[{}]", kinds.size())));
  return kinds;
}

std::vector<KernelKind> known_kernel_kinds() {
  for (const EmbeddedFile& file : k_rank_files)
    if (file.name == "kernel_patterns.json")
      return parse_kernel_kinds(parse_json(file.text, file.name), "kernel_patterns.json");
  throw Error("kernel_patterns.json is missing in this program");
}

const KernelKind* kind_of(const std::vector<KernelKind>& kinds, std::string_view kernel,
                          std::string_view operation) {
  const std::string name = lower(kernel), called = lower(operation);
  const auto found = std::find_if(kinds.begin(), kinds.end(), [&](const KernelKind& kind) {
    return holds_any(name, kind.kernel) || holds_any(called, kind.operation);
  });
  return found == kinds.end() ? nullptr : &*found;
}

}  // namespace kernelites
