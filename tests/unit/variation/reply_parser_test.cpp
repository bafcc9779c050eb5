// SPDX-License-Identifier: Apache-2.0
// Replies of models, kind and hostile, as a table.
#include "engine/variation/reply_parser.h"

#include <string>

#include "tests/support/catch.h"

using namespace kernelites;

namespace {

const std::string k_parent =
    "// parent\n"
    "__global__ void a(float* x) {\n"
    "  x[0]  = 1.0f;\n"
    "  x[1] = 2.0f;\n"
    "}\n"
    "__global__ void b(float* x) {\n"
    "  x[1] = 2.0f;\n"
    "}\n";

std::string edit(const std::string& search, const std::string& replace) {
  return "<<<<<<< SEARCH\n" + search + "=======\n" + replace + ">>>>>>> REPLACE\n";
}

/// The source that `reply` gives, or "!" and the reason of its rejection.
std::string outcome(const std::string& reply) {
  const auto parsed = parse_reply(reply, {k_parent, {}});
  if (const auto* rejection = std::get_if<Rejection>(&parsed)) {
    CHECK_FALSE(rejection->message.empty());
    return "!" + rejection->reason;
  }
  return std::get<Proposal>(parsed).candidate.source;
}

std::string with_first_line(const std::string& line) { return line + k_parent.substr(k_parent.find('\n')); }

}  // namespace

TEST_CASE("replies give a source or a named rejection") {
  struct Row {
    const char* fact;
    std::string reply;
    std::string expected;
  };
  const std::string file = "__global__ void k() {}\n";
  const Row rows[] = {
      {"a cuda block is the whole file", "Here:\n```cuda\n" + file + "```\n", file},
      {"a cpp block counts too", "```cpp\n" + file + "```", file},
      {"a block without a language counts too", "```\n" + file + "```", file},
      {"the last block with a kernel wins",
       "```cuda\n__global__ old\n```\n```cuda\n" + file + "```\n```cuda\nint x;\n```\n", file},
      {"a block of another language does not", "```python\n" + file + "```", "!no_kernel"},
      {"CRLF becomes LF", "```cuda\r\n__global__ void k() {}\r\n```\r\n", file},
      {"a longer fence holds a shorter one", "````cuda\n" + file + "// ```\n````", file + "// ```\n"},
      {"prose alone is refused", "I would use TMA.", "!no_code_block"},
      {"nothing is refused", "", "!no_code_block"},
      {"an open block is refused", "```cuda\n" + file, "!reply_is_torn"},
      {"code without a kernel is refused", "```cuda\nint x;\n```", "!no_kernel"},
      {"the parent unchanged is refused", "```cuda\n" + k_parent + "```", "!no_change"},
      {"an exact edit applies", edit("// parent\n", "// child\n"), with_first_line("// child")},
      {"an edit inside a fence applies", "```\n" + edit("// parent\n", "// child\n") + "```\n",
       with_first_line("// child")},
      {"an empty replacement deletes", edit("// parent\n", ""), k_parent.substr(k_parent.find('\n') + 1)},
      {"blanks are forgiven", edit("    //   parent\n", "// child\n"), with_first_line("// child")},
      {"blanks inside lines are forgiven", edit("x[0] = 1.0f;\n", "  x[0] = 3.0f;\n"),
       "// parent\n__global__ void a(float* x) {\n  x[0] = 3.0f;\n  x[1] = 2.0f;\n}\n__global__ void "
       "b(float* x) {\n  x[1] = 2.0f;\n}\n"},
      {"later edits see earlier ones", edit("// parent\n", "// one\n") + edit("// one\n", "// two\n"),
       with_first_line("// two")},
      {"edits win over a block", edit("// parent\n", "// child\n") + "```cuda\n" + file + "```\n",
       with_first_line("// child")},
      {"an edit that fits twice is refused", edit("  x[1] = 2.0f;\n", "\n"), "!edit_is_ambiguous"},
      {"an edit that fits nowhere is refused", edit("x[7] = 0;\n", ""), "!edit_does_not_apply"},
      {"half a line does not fit", edit("nt\n", ""), "!edit_does_not_apply"},
      {"an empty search is refused", edit("", "x\n"), "!edit_search_is_empty"},
      {"a blank search is refused", edit("  \n\n", "x\n"), "!edit_search_is_empty"},
      {"an edit without end is refused", "<<<<<<< SEARCH\n// parent\n=======\n// child\n", "!edit_is_torn"},
      {"an edit without divider is refused", "<<<<<<< SEARCH\n// parent\n>>>>>>> REPLACE\n", "!edit_is_torn"},
      {"an edit in an edit is refused", "<<<<<<< SEARCH\n" + edit("// parent\n", ""), "!edit_is_torn"},
      {"edits that undo themselves are no change",
       edit("// parent\n", "// x\n") + edit("// x\n", "// parent\n"), "!no_change"},
      {"invalid UTF-8 is refused", "```cuda\n__global__ \xC3\x28\n```", "!not_utf8"},
      {"a NUL is refused", std::string("```cuda\n__global__ \0\n```", 25), "!not_utf8"},
      {"an overlong encoding is refused", "```cuda\n__global__ \xC0\x80\n```", "!not_utf8"},
      {"a surrogate is refused", "```cuda\n__global__ \xED\xA0\x80\n```", "!not_utf8"},
      {"UTF-8 in comments is kept", "```cuda\n// \xC2\xB5s \xF0\x9F\x9A\x80\n" + file + "```",
       "// \xC2\xB5s \xF0\x9F\x9A\x80\n" + file},
      {"a huge reply is refused", std::string(k_reply_bytes_max + 1, 'x'), "!too_long"},
      {"a huge source is refused", "```cuda\n__global__ " + std::string(k_source_bytes_max, 'x') + "\n```",
       "!source_too_long"},
  };
  for (const Row& row : rows) {
    INFO(row.fact);
    CHECK(outcome(row.reply) == row.expected);
  }
}

TEST_CASE("more edits than allowed are refused") {
  std::string reply;
  for (std::size_t i = 0; i < 33; ++i) reply += edit("// parent\n", "// parent\n");
  CHECK(outcome(reply) == "!too_many_edits");
}

TEST_CASE("edits cannot grow a source without bound") {
  std::string reply;
  const std::string big(15000, 'y');
  for (int i = 0; i < 30; ++i) reply += edit("// parent\n", big + "\n// parent\n");
  CHECK(outcome(reply) == "!source_too_long");
}

TEST_CASE("the summary is the tagged line, without control characters and not too long") {
  const auto summary = [](const std::string& before) {
    const auto parsed = parse_reply(before + "```cuda\n__global__ void k() {}\n```\n", {k_parent, {}});
    return std::get<Proposal>(parsed).summary;
  };
  CHECK(summary("Sure.\nSUMMARY: use \x1B[31mTMA\tnow\n") == "use [31mTMA now");
  CHECK(summary("First line.\nSecond.\n") == "First line.");
  CHECK(summary("") == "");
  CHECK(summary("SUMMARY: " + std::string(500, 'x') + "\n").size() == k_summary_bytes_max);
}

TEST_CASE("a new source carries no tuning of its parent") {
  const auto parsed = parse_reply("```cuda\n__global__ void k() {}\n```\n", {k_parent, {{"BN", 64}}});
  CHECK(std::get<Proposal>(parsed).candidate.tuning.empty());
}
