// SPDX-License-Identifier: Apache-2.0
// The embedded files put together: programs and style by digest into the policy, data escaped into its block.
#include "tools/report/report_page.h"

#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "engine/core/embedded_file.h"
#include "engine/core/error.h"
#include "tools/inspect/source_diff.h"

namespace kernelites {

extern const std::vector<EmbeddedFile> k_report_files;

namespace {

/// In the order in which they run: the last one draws.
constexpr std::array<std::string_view, 10> k_scripts{
    "chart.min.js",   "report_dom.js",     "report_headline.js", "report_charts.js", "report_times.js",
    "report_grid.js", "report_lineage.js", "report_tables.js",   "report_source.js", "report_live.js"};
constexpr std::string_view k_style = "report_page.css";

std::string_view page_file(std::string_view name) {
  for (const EmbeddedFile& file : k_report_files)
    if (file.name == name) return file.text;
  throw Error(fmt::format("the page's file {} is not in the program", name));
}

/// As a policy names an inline element.
std::string source_hash(std::string_view text) {
  std::array<unsigned char, crypto_hash_sha256_BYTES> hash{};
  crypto_hash_sha256(hash.data(), reinterpret_cast<const unsigned char*>(text.data()), text.size());
  std::array<char, sodium_base64_ENCODED_LEN(crypto_hash_sha256_BYTES, sodium_base64_VARIANT_ORIGINAL)>
      base64{};
  sodium_bin2base64(base64.data(), base64.size(), hash.data(), hash.size(), sodium_base64_VARIANT_ORIGINAL);
  return fmt::format("'sha256-{}'", base64.data());
}

/// Every `{{name}}` of the page's frame replaced, in one pass: what is put in is not looked at again.
std::string filled(std::string_view frame,
                   const std::vector<std::pair<std::string_view, std::string>>& values) {
  std::string page;
  for (std::size_t at = 0; at < frame.size();) {
    const std::size_t open = frame.find("{{", at);
    page += frame.substr(at, open == std::string_view::npos ? open : open - at);
    if (open == std::string_view::npos) break;
    const std::size_t close = frame.find("}}", open);
    KERNELITES_ASSERT(close != std::string_view::npos);
    const std::string_view name = frame.substr(open + 2, close - open - 2);
    const auto value =
        std::find_if(values.begin(), values.end(), [&](const auto& one) { return one.first == name; });
    KERNELITES_ASSERT(value != values.end());
    page += value->second;
    at = close + 2;
  }
  return page;
}

int kind_number(DiffLine::Kind kind) {
  return kind == DiffLine::Kind::added ? 1 : kind == DiffLine::Kind::removed ? 2 : 0;
}

/// Each line as [kind, number before, number after, text]; 0: it is not there.
Json source_json(const RunFacts& facts) {
  if (!facts.best) return {};
  const bool has_parent = facts.best_parent.has_value();
  Json lines = Json::array();
  // Without a parent every line is compared with itself.
  for (const DiffLine& line :
       source_diff(has_parent ? facts.parent_source : facts.best_source, facts.best_source))
    lines.push_back({kind_number(line.kind), has_parent ? line.old_line : 0, line.new_line, line.text});
  return {{"ordinal", facts.best->ordinal},
          {"parent", has_parent ? Json(facts.best_parent->ordinal) : Json()},
          {"lines", std::move(lines)}};
}

}  // namespace

std::string script_json(const Json& json) {
  const std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string safe;
  safe.reserve(text.size() + text.size() / 16);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    // Outside strings none of these occur in JSON, and inside them an escape means the same.
    if (c == '<' || c == '>' || c == '&') {
      safe += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else if (text.compare(i, 3, "\u2028") == 0 || text.compare(i, 3, "\u2029") == 0) {
      safe += text[i + 2] == '\xa8' ? "\\u2028" : "\\u2029";
      i += 2;
    } else {
      safe += c;
    }
  }
  return safe;
}

std::string html_text(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    switch (c) {
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '&':
        safe += "&amp;";
        break;
      case '"':
        safe += "&quot;";
        break;
      case '\'':
        safe += "&#39;";
        break;
      default:
        safe += c;
    }
  }
  return safe;
}

Json page_data(const RunFacts& facts, const PageOptions& options) {
  Json data = run_facts_json(facts);
  data["source"] = source_json(facts);
  data["libraries"] = options.libraries;
  if (options.is_live) data["live"] = {{"can_steer", options.can_steer}};
  return data;
}

std::string page_policy(const PageOptions& options) {
  std::string scripts;
  for (const std::string_view name : k_scripts) scripts += " " + source_hash(page_file(name));
  return fmt::format(
      "default-src 'none'; script-src{}; style-src {}; img-src data:; connect-src {}; base-uri 'none'; "
      "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
      scripts, source_hash(page_file(k_style)), options.is_live ? "'self'" : "'none'");
}

std::string report_page(const Json& data, const PageOptions& options) {
  std::string scripts;
  for (const std::string_view name : k_scripts)
    scripts += fmt::format("<script>{}</script>\n", page_file(name));
  const std::string task = data.at("run").value("task", "");
  const std::string notice = data.at("run").value("is_modelled", false)
                                 ? "All times on this page are modelled by the virtual GPU from what the "
                                   "kernels execute; nothing was measured."
                                 : "Times were measured on the device named; floors and roofs are modelled "
                                   "from the maker's figures.";
  return filled(page_file("report_page.html"),
                {{"csp", html_text(page_policy(options))},
                 {"title", html_text(task + " - Kernelites report")},
                 {"style", std::string(page_file(k_style))},
                 {"notice", html_text(notice)},
                 {"licence", html_text(std::string(page_file("chart_licence.txt")))},
                 {"data", script_json(data)},
                 {"scripts", scripts}});
}

}  // namespace kernelites
