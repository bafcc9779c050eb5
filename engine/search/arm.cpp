// SPDX-License-Identifier: Apache-2.0
// Arms from the shares of operators and the factors of endpoints.
#include "engine/search/arm.h"

#include "engine/variation/operator_table.h"

namespace kernelites {

std::vector<ArmWeight> arm_weights(const std::map<std::string, double>& operators,
                                   const std::vector<std::string>& endpoints,
                                   const std::map<std::string, double>& factors,
                                   const std::function<std::string(const std::string&)>& prompt_version) {
  std::vector<double> factor_of;
  double sum = 0;
  for (const std::string& endpoint : endpoints) {
    const auto factor = factors.find(endpoint);
    sum += factor_of.emplace_back(factor == factors.end() ? 1 : factor->second);
  }
  std::vector<ArmWeight> arms;
  for (const OperatorRow& row : operator_table()) {
    const auto share = operators.find(std::string(row.name));
    if (share == operators.end() || share->second <= 0) continue;
    const std::string version = prompt_version ? prompt_version(share->first) : "";
    if (!row.needs_model)
      arms.push_back({{share->first, "", version}, share->second});
    else
      for (std::size_t i = 0; i < endpoints.size(); ++i)
        if (factor_of[i] > 0)
          arms.push_back({{share->first, endpoints[i], version}, share->second * factor_of[i] / sum});
  }
  return arms;
}

}  // namespace kernelites
