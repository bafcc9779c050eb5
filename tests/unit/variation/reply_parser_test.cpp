// SPDX-License-Identifier: Apache-2.0
// Replies of models, kind and hostile, as a table.
#include "engine/variation/reply_parser.h"

#include <set>
#include <string>
#include <vector>

#include "engine/core/rng.h"
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

struct Row {
  const char* fact;
  std::string reply;
  std::string expected;
};

const std::string k_file = "__global__ void k() {}\n";

void check_rows(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    INFO(row.fact);
    CHECK(outcome(row.reply) == row.expected);
  }
}

}  // namespace

TEST_CASE("whole files give a source or a named rejection") {
  check_rows({
      {"a cuda block is the whole file", "Here:\n```cuda\n" + k_file + "```\n", k_file},
      {"a cpp block counts too", "```cpp\n" + k_file + "```", k_file},
      {"a block without a language counts too", "```\n" + k_file + "```", k_file},
      {"the last block with a kernel wins",
       "```cuda\n__global__ old\n```\n```cuda\n" + k_file + "```\n```cuda\nint x;\n```\n", k_file},
      {"a block of another language does not", "```python\n" + k_file + "```", "!no_kernel"},
      {"CRLF becomes LF", "```cuda\r\n__global__ void k() {}\r\n```\r\n", k_file},
      {"a longer fence holds a shorter one", "````cuda\n" + k_file + "// ```\n````", k_file + "// ```\n"},
      {"prose alone is refused", "I would use TMA.", "!no_code_block"},
      {"nothing is refused", "", "!no_code_block"},
      {"an open block is refused", "```cuda\n" + k_file, "!reply_is_torn"},
      {"code without a kernel is refused", "```cuda\nint x;\n```", "!no_kernel"},
      {"the parent unchanged is refused", "```cuda\n" + k_parent + "```", "!no_change"},
      {"a title behind the language is ignored", "```CUDA title=k.cu\n" + k_file + "```", k_file},
      {"two parts are one file", "```cuda part 1/2\n// a\n```\nand\n```cuda part 2/2\n" + k_file + "```",
       "// a\n" + k_file},
      {"parts can be named in a comment",
       "```cuda\n// part 1 of 2\n```\n```cuda\n// part 2 of 2\n" + k_file + "```",
       "// part 1 of 2\n// part 2 of 2\n" + k_file},
      {"a missing part is refused", "```cuda part 1/2\n" + k_file + "```", "!parts_are_incomplete"},
      {"parts out of order are refused",
       "```cuda part 2/2\n" + k_file + "```\n```cuda part 1/2\n" + k_file + "```", "!parts_are_incomplete"},
      {"a JSON object with a source counts", R"({"summary": "s", "source": "__global__ void k() {}\n"})",
       k_file},
      {"a JSON block counts", "So:\n```json\n{\"source\": \"__global__ void k() {}\"}\n```\n", k_file},
      {"JSON with both is refused", R"({"source": "x", "edits": []})", "!json_is_malformed"},
      {"broken JSON is refused", R"({"source": "x)", "!json_is_malformed"},
      {"a JSON source with a NUL is refused", R"({"source": "__global__ \u0000"})", "!not_utf8"},
      {"the hunk of a diff applies",
       "```diff\n--- a\n+++ b\n@@ -1,2 +1,2 @@\n-// parent\n+// child\n __global__ void a(float* x) {\n```",
       with_first_line("// child")},
      {"an open diff is refused", "```diff\n@@ -1 +1 @@\n-// parent\n", "!reply_is_torn"},
      {"invalid UTF-8 is refused", "```cuda\n__global__ \xC3\x28\n```", "!not_utf8"},
      {"a NUL is refused", std::string("```cuda\n__global__ \0\n```", 25), "!not_utf8"},
      {"an overlong encoding is refused", "```cuda\n__global__ \xC0\x80\n```", "!not_utf8"},
      {"a surrogate is refused", "```cuda\n__global__ \xED\xA0\x80\n```", "!not_utf8"},
      {"UTF-8 in comments is kept", "```cuda\n// \xC2\xB5s \xF0\x9F\x9A\x80\n" + k_file + "```",
       "// \xC2\xB5s \xF0\x9F\x9A\x80\n" + k_file},
      {"a huge reply is refused", std::string(k_reply_bytes_max + 1, 'x'), "!too_long"},
      {"a huge source is refused", "```cuda\n__global__ " + std::string(k_source_bytes_max, 'x') + "\n```",
       "!source_too_long"},
  });
}

TEST_CASE("edits give a source or a named rejection") {
  check_rows({
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
      {"edits win over a block", edit("// parent\n", "// child\n") + "```cuda\n" + k_file + "```\n",
       with_first_line("// child")},
      {"an edit that fits twice is refused", edit("  x[1] = 2.0f;\n", "\n"), "!edit_is_ambiguous"},
      {"an edit that fits nowhere is refused", edit("x[7] = 0;\n", ""), "!edit_does_not_apply"},
      {"half a word does not fit", edit("nt\n", ""), "!edit_does_not_apply"},
      {"half a word at the end does not fit", edit("// par\n", ""), "!edit_does_not_apply"},
      {"parts of lines fit", edit("parent\n__global__\n", "child\n__global__\n"),
       with_first_line("// child")},
      {"a part of a line that fits twice is refused", edit("= 2.0f\n", "= 3.0f\n"), "!edit_is_ambiguous"},
      {"an empty search is refused", edit("", "x\n"), "!edit_search_is_empty"},
      {"a blank search is refused", edit("  \n\n", "x\n"), "!edit_search_is_empty"},
      {"an edit without end is refused", "<<<<<<< SEARCH\n// parent\n=======\n// child\n", "!edit_is_torn"},
      {"an edit without divider is refused", "<<<<<<< SEARCH\n// parent\n>>>>>>> REPLACE\n",
       "!edit_is_malformed"},
      {"an edit in an edit is refused", "<<<<<<< SEARCH\n" + edit("// parent\n", ""), "!edit_is_malformed"},
      {"empty lines are forgiven",
       edit("// parent\n\n__global__ void a(float* x) {\n", "// child\n__global__ void a(float* x) {\n"),
       with_first_line("// child")},
      {"a JSON object with edits counts",
       R"({"summary": "s", "edits": [{"search": "// parent", "replace": "// child"}]})",
       with_first_line("// child")},
      {"JSON edits a part of a line",
       R"({"summary": "s", "edits": [{"search": "parent", "replace": "child"}]})",
       with_first_line("// child")},
      {"edits that undo themselves are no change",
       edit("// parent\n", "// x\n") + edit("// x\n", "// parent\n"), "!no_change"},
  });
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

TEST_CASE("an edit that fits nowhere is answered with the nearest text, one that fits twice with its lines") {
  const auto message = [](const std::string& reply) {
    return std::get<Rejection>(parse_reply(reply, {k_parent, {}})).message;
  };
  CHECK_THAT(message(edit("__global__ void a(float* y) {\n", "")),
             Catch::Contains("lines 2 to 2") && Catch::Contains("void a(float* x)"));
  CHECK_THAT(message(edit("  x[1] = 2.0f;\n", "\n")),
             Catch::Contains("2 times") && Catch::Contains("lines 4, 7"));
  CHECK_THAT(message(edit("zebra crossing\n", "")), !Catch::Contains("nearest"));
}

TEST_CASE("a reply that is cut anywhere and continued gives the same file") {
  const std::string reply =
      "SUMMARY: s\n```cuda\n// a kernel\n__global__ void k(float* x) {\n  x[0] = 1.0f;\n}\n```\n";
  const std::string whole = outcome(reply);
  for (std::size_t cut = reply.find("// a"); cut < reply.find("\n```\n"); ++cut) {
    INFO("cut at " << cut);
    const std::string first = reply.substr(0, cut);
    const std::string rest = reply.substr(cut);
    CHECK(is_cut_off(std::get<Rejection>(parse_reply(first, {k_parent, {}}))));
    CHECK(outcome(join_cut_reply(first, rest)) == whole);
    CHECK(outcome(join_cut_reply(first, "```cuda\n" + rest)) == whole);
    // What stood at the seam is said again.
    if (cut > 40) CHECK(outcome(join_cut_reply(first, reply.substr(cut - 20))) == whole);
  }
}

TEST_CASE("no damage to a reply does more than change its outcome to another kernel or a named rejection") {
  const std::set<std::string> known{"no_code_block",
                                    "no_kernel",
                                    "reply_is_torn",
                                    "edit_is_torn",
                                    "edit_is_malformed",
                                    "edit_search_is_empty",
                                    "edit_is_ambiguous",
                                    "no_change",
                                    "edit_does_not_apply",
                                    "too_many_edits",
                                    "not_utf8",
                                    "json_is_malformed",
                                    "source_too_long",
                                    "parts_are_incomplete"};
  const std::string replies[] = {
      "SUMMARY: s\n```cuda\n__global__ void k() {}\n```\n",
      edit("// parent\n", "// child\n") + "and\n" + edit("  x[0]  = 1.0f;\n", "  x[0] = 2.0f;\n"),
      R"({"summary": "s", "edits": [{"search": "// parent", "replace": "// child"}]})",
      "```diff\n@@ -1 +1 @@\n-// parent\n+// child\n```\n",
      "```cuda part 1/2\n// a\n```\n```cuda part 2/2\n__global__ void k() {}\n```\n"};
  const std::string pieces[] = {
      "```", "<<<<<<< SEARCH\n", "=======\n", ">>>>>>> REPLACE\n", "\n", "\r", "{", "\"", "@@", "\xC3"};
  Rng rng(4);
  int rejected = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string reply = replies[rng.below(std::size(replies))];
    for (std::uint64_t damage = 1 + rng.below(4); damage > 0 && !reply.empty(); --damage) {
      const std::size_t at = rng.below(reply.size());
      switch (rng.below(5)) {
        case 0:
          reply.erase(at, 1 + rng.below(12));
          break;
        case 1:
          reply.insert(at, pieces[rng.below(std::size(pieces))]);
          break;
        case 2:
          reply[at] = static_cast<char>(rng.below(256));
          break;
        case 3:
          reply.resize(at);
          break;
        default:
          reply.insert(at, reply.substr(rng.below(reply.size()), rng.below(40)));
      }
    }
    const auto parsed = parse_reply(reply, {k_parent, {}});
    if (const auto* rejection = std::get_if<Rejection>(&parsed)) {
      ++rejected;
      INFO(reply);
      REQUIRE(known.count(rejection->reason) == 1);
    } else {
      const std::string& source = std::get<Proposal>(parsed).candidate.source;
      INFO(reply);
      REQUIRE(source.find("__global__") != std::string::npos);
      REQUIRE(source.back() == '\n');
      REQUIRE(source != k_parent);
    }
  }
  CHECK(rejected > 2000);
  CHECK(rejected < 19000);
}
