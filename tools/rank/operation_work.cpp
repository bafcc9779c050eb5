// SPDX-License-Identifier: Apache-2.0
// The least work of a framework's operation, from the shapes of its inputs.
#include "tools/rank/operation_work.h"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>
#include <string_view>
#include <utility>

#include "engine/core/json.h"

namespace kernelites {
namespace {

using Shapes = std::vector<std::vector<double>>;

/// By the first known type: mixed inputs are rare, and the large ones come first.
double element_bytes(const std::string& types) {
  constexpr std::array<std::pair<std::string_view, double>, 9> k_types{{{"BFloat16", 2},
                                                                        {"Half", 2},
                                                                        {"Float8", 1},
                                                                        {"float", 4},
                                                                        {"double", 8},
                                                                        {"long", 8},
                                                                        {"int", 4},
                                                                        {"bool", 1},
                                                                        {"unsigned char", 1}}};
  const std::string first = types.substr(0, types.find(','));
  for (const auto& [word, bytes] : k_types)
    if (first.find(word) != std::string::npos) return bytes;
  return 0;
}

double elements(const std::vector<double>& shape) {
  return std::accumulate(shape.begin(), shape.end(), 1.0, std::multiplies<>());
}

/// [.., M, K] x [.., K, N], operands at `a` and the next.
std::optional<OperationWork> product_work(const Shapes& shapes, std::size_t a, double bytes) {
  if (shapes.size() < a + 2) return std::nullopt;
  const auto &x = shapes[a], &y = shapes[a + 1];
  if (x.size() < 2 || y.size() < 2 || x.back() != y[y.size() - 2]) return std::nullopt;
  const double out = elements(x) / x.back() * y.back();
  return OperationWork{2 * elements(x) * y.back(), bytes * (elements(x) + elements(y) + out)};
}

bool has_heads_first(const std::string& operation) {
  return operation.find("aten::_flash_attention") == std::string::npos &&
         operation.find("aten::_efficient_attention") == std::string::npos;
}

/// [batch, heads, length, width] each; flash operations have length before heads, which changes no product.
std::optional<OperationWork> attention_work(const Shapes& shapes, bool is_heads_first, bool is_backward,
                                            double bytes) {
  const std::size_t first = is_backward ? 1 : 0;  // the gradient of the output comes first
  if (shapes.size() < first + 3) return std::nullopt;
  const auto &q = shapes[first], &k = shapes[first + 1], &v = shapes[first + 2];
  if (q.size() != 4 || k.size() != 4 || v.size() != 4) return std::nullopt;
  const std::size_t length = is_heads_first ? 2 : 1;
  const double rows = elements(q) / q[3];
  const double products = 2 * rows * k[length] * (q[3] + v[3]);
  const double moved = elements(q) + elements(k) + elements(v) + rows * v[3];
  return is_backward ? OperationWork{2.5 * products, bytes * (2 * moved + rows * v[3])}
                     : OperationWork{products, bytes * moved};
}

}  // namespace

std::vector<std::vector<double>> parse_shapes(const std::string& shapes) {
  const Json json = Json::parse(shapes, nullptr, false);
  if (!json.is_array()) return {};
  std::vector<std::vector<double>> result;
  for (const Json& shape : json) {
    result.emplace_back();
    if (!shape.is_array()) continue;
    for (const Json& size : shape)
      if (size.is_number()) result.back().push_back(size.get<double>());
  }
  return result;
}

bool is_decode(const std::string& operation, const std::string& shapes) {
  if (operation.find("attention") == std::string::npos || operation.find("backward") != std::string::npos)
    return false;
  const Shapes known = parse_shapes(shapes);
  return !known.empty() && known[0].size() == 4 && known[0][has_heads_first(operation) ? 2 : 1] == 1;
}

std::optional<OperationWork> work_of(const std::string& operation, const std::string& shapes,
                                     const std::string& types) {
  const Shapes known = parse_shapes(shapes);
  const double bytes = element_bytes(types);
  if (known.empty() || bytes == 0) return std::nullopt;
  if (operation == "aten::mm" || operation == "aten::bmm") return product_work(known, 0, bytes);
  if (operation == "aten::addmm" || operation == "aten::baddbmm") return product_work(known, 1, bytes);
  if (operation.find("attention") != std::string::npos) {
    return attention_work(known, has_heads_first(operation), operation.find("backward") != std::string::npos,
                          bytes);
  }
  double sum = 0, largest = 0;
  for (const auto& shape : known) {
    if (shape.empty()) continue;
    sum += elements(shape);
    largest = std::max(largest, elements(shape));
  }
  if (largest == 0) return std::nullopt;
  return OperationWork{0, bytes * (sum + largest)};
}

}  // namespace kernelites
