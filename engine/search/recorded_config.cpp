// SPDX-License-Identifier: Apache-2.0
// The configuration that a run recorded, which may name what has left since.
#include "engine/search/recorded_config.h"

#include "engine/variation/operator_table.h"

namespace kernelites {

RunConfig recorded_run_config(Json recorded, const std::string& where) {
  if (recorded.is_object() && recorded.contains("operators") && recorded["operators"].is_object()) {
    Json shares = Json::object();
    double orphaned = 0;
    for (const auto& [name, share] : recorded["operators"].items()) {
      if (find_operator(name) == nullptr && share.is_number())
        orphaned += share.get<double>();
      else
        shares[name] = share;
    }
    if (orphaned > 0 && !shares.contains("refine")) shares["refine"] = 0.0;
    if (orphaned > 0 && shares["refine"].is_number())  // else it is refused below, by its name
      shares["refine"] = shares["refine"].get<double>() + orphaned;
    recorded["operators"] = std::move(shares);
  }
  return parse_run_config(recorded, where);
}

}  // namespace kernelites
