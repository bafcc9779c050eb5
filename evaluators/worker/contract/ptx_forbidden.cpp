// SPDX-License-Identifier: Apache-2.0
// The table of forbidden words.
#include "evaluators/worker/contract/ptx_forbidden.h"

namespace kernelites::worker {
namespace {

constexpr std::string_view k_clock_words =
    "reads a clock: code may not depend on time; drop clock(), clock64() and %globaltimer";
constexpr std::string_view k_map_words = "edits a tensor map: declare every map in the plan";
constexpr std::string_view k_counter_words = "reads performance counters, which betray the profiler";
constexpr std::string_view k_texture_words = "reads textures or surfaces, which no task has";
constexpr std::string_view k_stack_words = "moves the stack at run time: use arrays of constant size";

constexpr std::string_view k_video_words =
    "uses video instructions (vadd, vset, ...), which the virtual GPU cannot check: plain arithmetic does "
    "the same";

constexpr ForbiddenPtx k_forbidden[] = {
    {"%clock", "screen_clock", k_clock_words},
    {"%globaltimer", "screen_clock", k_clock_words},
    {"%gridid", "screen_launch_counter",
     "reads %gridid, which counts launches: every launch must do the same work"},
    {"%current_graph_exec", "screen_environment",
     "asks whether it runs in a graph: every launch must do the same work"},
    {"%envreg", "screen_environment", "reads %envreg registers, which belong to the driver"},
    {"%reserved_smem", "screen_environment", "asks for shared memory that belongs to the system"},
    {"%pm0", "screen_counters", k_counter_words},
    {"%pm1", "screen_counters", k_counter_words},
    {"%pm2", "screen_counters", k_counter_words},
    {"%pm3", "screen_counters", k_counter_words},
    {"%pm4", "screen_counters", k_counter_words},
    {"%pm5", "screen_counters", k_counter_words},
    {"%pm6", "screen_counters", k_counter_words},
    {"%pm7", "screen_counters", k_counter_words},
    {"pmevent", "screen_counters", "triggers performance-monitor events"},
    {"brkpt", "screen_breakpoint", "stops at a breakpoint, which only a debugger answers"},
    {"tensormap", "screen_tensormap", k_map_words},
    {"multimem", "screen_multimem", "uses multicast memory objects, which no task has"},
    {"discard", "screen_discard",
     "discards cache lines, which may destroy what is in them: let them be written back"},
    {"ld.mmio", "screen_host_memory", "reads memory of the host or of devices"},
    {"st.mmio", "screen_host_memory", "writes memory of the host or of devices"},
    {"alloca", "screen_stack", k_stack_words},
    {"stacksave", "screen_stack", k_stack_words},
    {"stackrestore", "screen_stack", k_stack_words},
    {"tex", "screen_texture", k_texture_words},
    {"tld4", "screen_texture", k_texture_words},
    {"txq", "screen_texture", k_texture_words},
    {"suld", "screen_texture", k_texture_words},
    {"sust", "screen_texture", k_texture_words},
    {"sured", "screen_texture", k_texture_words},
    {"suq", "screen_texture", k_texture_words},
    {"istypep", "screen_texture", k_texture_words},
    {"vadd", "screen_video", k_video_words},
    {"vadd2", "screen_video", k_video_words},
    {"vadd4", "screen_video", k_video_words},
    {"vsub", "screen_video", k_video_words},
    {"vsub2", "screen_video", k_video_words},
    {"vsub4", "screen_video", k_video_words},
    {"vmin", "screen_video", k_video_words},
    {"vmin2", "screen_video", k_video_words},
    {"vmin4", "screen_video", k_video_words},
    {"vmax", "screen_video", k_video_words},
    {"vmax2", "screen_video", k_video_words},
    {"vmax4", "screen_video", k_video_words},
    {"vabsdiff", "screen_video", k_video_words},
    {"vavrg2", "screen_video", k_video_words},
    {"vavrg4", "screen_video", k_video_words},
    {"vshl", "screen_video", k_video_words},
    {"vshr", "screen_video", k_video_words},
    {"vmad", "screen_video", k_video_words},
    {"vset", "screen_video", k_video_words},
    {"vset2", "screen_video", k_video_words},
    {"vset4", "screen_video", k_video_words},
    {".blocksareclusters", "screen_cluster_attribute",
     "counts its grid in clusters (.blocksareclusters): the plan's grid counts blocks"},
    {".alias", "screen_alias", "gives a function a second name (.alias)"},
};

/// Opcodes and directives count with their modifiers ("tex.2d"), registers by their beginning ("%clock_hi"). Names of
/// parameters and labels contain no dot, and a word before a colon or behind a comma is none of these.
bool is_word(std::string_view text, std::string_view word) {
  if (!text.starts_with(word)) return false;
  return word[0] == '%' || text.size() == word.size() || text[word.size()] == '.';
}

/// Whether an instruction or directive can begin at token `i`: not in the middle of operands.
bool may_begin(std::span<const PtxToken> tokens, std::size_t i) {
  if (tokens[i].text[0] == '%' || tokens[i].text[0] == '.') return true;
  if (i + 1 < tokens.size() && tokens[i + 1].text == ":") return false;
  if (tokens[i].text.find('.') != std::string_view::npos) return true;
  if (i == 0 || tokens[i].begins_line) return true;
  const std::string_view before = tokens[i - 1].text;
  if (i >= 2 && (tokens[i - 2].text == "@" || tokens[i - 2].text == "!")) return true;  // behind a guard
  return before == ";" || before == "{" || before == "}" || before == ":" || before.starts_with('%');
}

}  // namespace

const ForbiddenPtx* find_forbidden_ptx(std::span<const PtxToken> tokens) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].is_string || tokens[i].text.empty()) continue;
    for (const ForbiddenPtx& forbidden : k_forbidden) {
      if (is_word(tokens[i].text, forbidden.word) && may_begin(tokens, i)) return &forbidden;
    }
  }
  return nullptr;
}

}  // namespace kernelites::worker
