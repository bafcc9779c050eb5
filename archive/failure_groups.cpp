// SPDX-License-Identifier: Apache-2.0
// What failed repeatedly, and whose it was: failed candidates and refused replies by cause, operator and endpoint.
#include "archive/failure_groups.h"

namespace kernelites {

std::vector<FailureGroup> failure_groups(Database& database) {
  std::vector<FailureGroup> groups;
  Statement rows = database.prepare(
      "SELECT e.stage, e.reason, v.operator_name, v.endpoint, count(*) AS times, max(c.ordinal) FROM "
      "candidate c "
      "JOIN variation v ON v.ordinal = c.variation JOIN evaluation e ON e.id = "
      "(SELECT max(n.id) FROM evaluation n WHERE n.ordinal = c.ordinal AND +n.state = 'answered') "
      "WHERE c.told > 0 AND c.outcome = 'failed' GROUP BY 1, 2, 3, 4 UNION ALL "
      "SELECT 'reply', r.reason, v.operator_name, v.endpoint, count(*), max(r.ordinal) FROM rejection r "
      "JOIN variation v ON v.ordinal = r.ordinal GROUP BY 1, 2, 3, 4 ORDER BY times DESC, 1, 2, 3, 4");
  while (rows.step())
    groups.push_back({.stage = rows.text(0),
                      .reason = rows.text(1),
                      .operator_name = rows.text(2),
                      .endpoint = rows.text(3),
                      .count = rows.integer(4),
                      .newest = static_cast<std::uint64_t>(rows.integer(5))});
  return groups;
}

}  // namespace kernelites
