// SPDX-License-Identifier: Apache-2.0
// A snippet: a few PTX instructions with generated inputs, whose outputs are recorded on a device and replayed.
//
// The tables (snippets_*.cpp) hold rows that stand for several snippets each. In a row's name "<x,y>" stands for x and
// for y; $1, $2 ... are the choices made and $0 is the name, in operands and body. Operands read
// "a:s32 b[2]:f16x2/w -> d:f32": a register of each type, "b[2]" a vector {b0, b1}; behind the slash a profile of the
// values drawn (operand_values.h). Without a body the instruction is "$0 d, a, {b0, b1};". A body may also use the
// registers thread, lane, warp (.b32), %in (.b64): the operands in memory, and scratch (.b64): 64 KiB of zeroed global
// memory; with a tensor map also map (.b64), its address. Of several blocks, which are a cluster, rank (.b32) is the
// block's and tid (.b32) the thread's in it; thread and warp count through all of them.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/core/launch_plan.h"

namespace kernelites::recorded {

/// How close a replayed value must come to the recorded one. NaN and infinity must match bit by bit under every rule.
struct Rule {
  enum class Kind { exact, ulp, relative, absolute };
  Kind kind = Kind::exact;
  double bound = 0;  ///< ulps of the format; relative; absolute
  double floor = 0;  ///< relative: an absolute difference that is allowed too
};
inline constexpr Rule k_exact{};
constexpr Rule ulp(double bound) { return {Rule::Kind::ulp, bound, 0}; }
constexpr Rule relative(double bound, double floor = 0) { return {Rule::Kind::relative, bound, floor}; }
constexpr Rule absolute(double bound) { return {Rule::Kind::absolute, bound, 0}; }

struct Row {
  const char* name;
  const char* operands;
  const char* body = "";
  Rule rule = k_exact;
  unsigned warps = 4;              ///< of a block
  unsigned blocks = 1;             ///< in one cluster
  std::optional<TensorMap> map{};  ///< over the operands in memory; of a "workspace": over scratch
};

/// One register operand.
struct SnippetOperand {
  std::string name, type, profile;
  unsigned bytes = 4;  ///< of the register, per lane; a predicate is stored as 0 or 1 in 4 bytes
};

struct Snippet {
  std::string family, name, body;
  std::vector<SnippetOperand> inputs, outputs;
  Rule rule;
  unsigned warps = 4, blocks = 1;
  std::optional<TensorMap> map{};

  unsigned threads() const { return 32 * warps * blocks; }
};

/// Bytes of an operand list in memory: operand after operand, each `threads` values long, 16-byte aligned.
std::size_t operand_offset(const Snippet& snippet, std::span<const SnippetOperand> operands,
                           std::size_t index);
std::size_t input_bytes(const Snippet& snippet);
std::size_t output_bytes(const Snippet& snippet);

/// The inputs of all lanes, drawn from a seed that is the snippet's name.
std::vector<std::byte> draw_inputs(const Snippet& snippet);

/// A module with the kernel `snippet(in, out, scratch)`: load inputs, body, store outputs.
std::string module_text(const Snippet& snippet);

/// Expands the rows of a table. Throws Error for a row that is malformed.
std::vector<Snippet> expand(const std::string& family, std::span<const Row> rows);

/// Every snippet of every table.
std::vector<Snippet> all_snippets();

}  // namespace kernelites::recorded
