// SPDX-License-Identifier: Apache-2.0
// The report of a run as one HTML page that needs nothing but itself.
//
// Data is one JSON block in which no character can end the block or begin markup; the page's programs turn it into text
// nodes. A Content-Security-Policy admits exactly the programs and the style that the page holds, by digest, so that
// nothing that came in with a model's text could run or reach the network even if it got into the markup.
#pragma once

#include <string>

#include "tools/inspect/run_facts.h"

namespace kernelites {

/// How the page is used.
struct PageOptions {
  bool is_live = false;    ///< served: it follows the run through `events` beside it
  bool can_steer = false;  ///< served: it may write steer.json
  /// What libraries' kernels took on a device of the run's kind at another time: {"date", "torch", "times":
  /// [{"workload", "name", "us", "p10", "p90", "n"}]}; null: not known.
  Json libraries = {};
};

/// What the page draws: the facts, the best source against its parent's, and `live`.
Json page_data(const RunFacts& facts, const PageOptions& options);
/// The whole page around that data.
std::string report_page(const Json& data, const PageOptions& options);
/// The policy of the page: what its meta element and its server say.
std::string page_policy(const PageOptions& options);

/// JSON that can stand in a script element: `<`, `>`, `&` and the two line separators are escapes, bytes that are no
/// UTF-8 are U+FFFD.
std::string script_json(const Json& json);
/// Text that can stand in an element or a quoted attribute.
std::string html_text(const std::string& text);

}  // namespace kernelites
