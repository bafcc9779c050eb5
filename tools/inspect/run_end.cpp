// SPDX-License-Identifier: Apache-2.0
// The newest event of an end, in words.
#include "tools/inspect/run_end.h"

#include <fmt/format.h>

#include "archive/run_lock.h"
#include "engine/core/json.h"
#include "tools/inspect/screen_text.h"

namespace kernelites {
namespace {

constexpr std::size_t k_detail_columns = 160;

/// Events within which a beginning is told.
constexpr int k_beginning_events = 16;

/// The first event that `sql` finds of this name; an empty object if there is none.
Json event_by(Database& rows, const std::string& sql, const char* name) {
  Statement statement = rows.prepare(sql);
  statement.bind(std::string(name));
  if (!statement.step()) return Json::object();
  const Json event = Json::parse(statement.text(0), nullptr, false);
  return event.is_object() ? event : Json::object();
}

std::string text_in(const Json& event, const char* member) {
  return event.contains(member) && event.at(member).is_string()
             ? cut_to(clean_line(event.at(member).get<std::string>()), k_detail_columns)
             : "";
}

/// What a reason means; `detail` as the run told it.
std::string reason_words(const std::string& reason, const std::string& detail, const RunConfig& config) {
  const std::string last = detail.empty() ? "" : " (the last: " + detail + ")";
  if (reason == "budget") return fmt::format("the budget is used up{}", detail.empty() ? "" : ": " + detail);
  if (reason == "barren")
    return fmt::format("{} proposals in a row gave no candidate{}", config.barren_max, last);
  if (reason == "exhausted") return "nothing is left to try: no model, and every elite's tunables are swept";
  if (reason == "stagnated") return detail;
  if (reason == "steered") return "steer.json says so";
  if (reason == "interrupted") return "its user stopped it";
  if (reason == "waiting") return "it waits for " + (detail.empty() ? std::string("replies") : detail);
  return detail;
}

}  // namespace

std::vector<std::string> seeds_left_out(Database& rows) {
  const Json event = event_by(
      rows,
      fmt::format("SELECT body FROM event WHERE event = ?1 AND sequence <= {} LIMIT 1", k_beginning_events),
      k_seeds_left_out);
  std::vector<std::string> names;
  if (event.contains("seeds") && event.at("seeds").is_array())
    for (const Json& name : event.at("seeds"))
      if (name.is_string()) names.push_back(clean_line(name.get<std::string>()));
  return names;
}

RunEnd run_end(Database& rows, const std::string& folder, const RunRecord& run, const Spent& spent,
               const RunConfig& config) {
  RunEnd end{.state = run.state};
  const std::int64_t beyond = spent.candidates - spent.seeds;
  const std::string after = config.budget.candidates > 0
                                ? fmt::format("after {} of {} candidates", beyond, config.budget.candidates)
                                : fmt::format("after {} candidates", beyond);
  if (run.state == "running") {
    if (is_written_now(folder)) return end;
    end.state = "gone";
    end.reason = "gone";
    end.words = fmt::format(
        "stopped {} without an end: no process of this machine writes it; unless another one does, the same "
        "run "
        "command goes on",
        after);
    return end;
  }
  const Json stopped =
      event_by(rows, "SELECT body FROM event WHERE event = ?1 ORDER BY sequence DESC LIMIT 1", "stopped");
  end.reason = text_in(stopped, "reason");
  if (end.reason.empty()) return end;
  const std::string words = reason_words(end.reason, text_in(stopped, "detail"), config);
  end.words = fmt::format("ended {} {}{}", end.reason == "trouble" ? "in trouble" : end.reason, after,
                          words.empty() ? "" : ": " + words);
  return end;
}

}  // namespace kernelites
