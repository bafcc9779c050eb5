// SPDX-License-Identifier: Apache-2.0
// Edits of source text that are right whatever the source says around them.
#include "engine/variation/declare_operator.h"

#include <algorithm>

#include "engine/core/error.h"
#include "engine/variation/tuning.h"

namespace kernelites {
namespace {

/// Where the parenthesis that opens at `open` closes; npos if it does not. `has_comma`: one at its own level. What
/// stands in quotes is a name.
std::size_t closing(std::string_view source, std::size_t open, bool* has_comma) {
  int depth = 0;
  *has_comma = false;
  for (std::size_t at = open; at < source.size(); ++at) {
    const char c = source[at];
    if (c == '"') at = std::min(source.find('"', at + 1), source.size() - 1);
    if (c == '(' || c == '[' || c == '{') ++depth;
    if (c == ',' && depth == 1) *has_comma = true;
    if (c != ')' && c != ']' && c != '}') continue;
    if (--depth == 0) return at;
  }
  return std::string_view::npos;
}

/// `text` put behind the arguments of every call of `name`, or (`is_inside`) behind the argument of those that have
/// one; nothing if there is none.
std::optional<std::string> at_calls(std::string_view source, std::string_view name, std::string_view text,
                                    bool is_inside) {
  std::string result;
  bool is_any = false;
  std::size_t done = 0;
  for (std::size_t at = source.find(name); at != std::string_view::npos; at = source.find(name, at + 1)) {
    bool has_comma = false;
    const std::size_t end = closing(source, at + name.size() - 1, &has_comma);
    if (end == std::string_view::npos) break;
    if (has_comma && is_inside) continue;
    const std::size_t upto = is_inside ? end : end + 1;
    if (upto < done) continue;
    result.append(source.substr(done, upto - done)).append(text);
    done = upto;
    is_any = true;
  }
  if (!is_any) return std::nullopt;
  return result.append(source.substr(done));
}

/// The tunable's line goes above everything: a comment is right anywhere.
std::optional<std::string> declared(std::optional<std::string> source, std::string_view line) {
  if (!source) return std::nullopt;
  return std::string(line).append("\n").append(*source);
}

bool can_declare(std::string_view source, std::string_view name) {
  return source.find(name) == std::string_view::npos && parse_tunables(source).size() < k_tunables_max &&
         source.size() + 4096 < k_source_bytes_max;
}

}  // namespace

std::optional<std::string> with_min_blocks(std::string_view source) {
  if (!can_declare(source, "MIN_BLOCKS")) return std::nullopt;
  return declared(at_calls(source, "__launch_bounds__(", ", MIN_BLOCKS", true),
                  "// tune: MIN_BLOCKS = 1 | 2 | 3 | 4");
}

std::optional<std::string> with_carveout(std::string_view source) {
  if (!can_declare(source, "CARVEOUT") || source.find(".carveout(") != std::string_view::npos)
    return std::nullopt;
  return declared(at_calls(source, ".launch(", ".carveout(CARVEOUT)", false),
                  "// tune: CARVEOUT = -1 | 100 | 50 | 0");
}

Action DeclareOperator::next(const Observation& observation) {
  KERNELITES_ASSERT(std::holds_alternative<Started>(observation));
  using Edit = std::optional<std::string> (*)(std::string_view);
  struct Declaration {
    Edit edit;
    const char* name;
  };
  std::vector<Declaration> declarations{{with_min_blocks, "MIN_BLOCKS"}, {with_carveout, "CARVEOUT"}};
  const Candidate parent = with_full_tuning(input_.parent.candidate);
  rng_.shuffle(declarations);
  for (const Declaration& declaration : declarations) {
    const auto source = declaration.edit(parent.source);
    if (!source) continue;
    Candidate child = with_full_tuning({*source, parent.tuning});
    const std::vector<Tunable> tunables = parse_tunables(*source);
    for (const Tunable& tunable : tunables)
      if (tunable.name == declaration.name)
        child.tuning[tunable.name] = tunable.values[1 + rng_.below(tunable.values.size() - 1)];
    if (input_.is_known && input_.is_known(child)) continue;
    return Submit{
        {child, "declare " + std::string(declaration.name) + ": " +
                    describe_change(with_full_tuning({*source, parent.tuning}).tuning, child.tuning)}};
  }
  return GiveUp{{"nothing_to_declare", "the parent fixes nothing that could be declared"}};
}

}  // namespace kernelites
