// SPDX-License-Identifier: Apache-2.0
// Plain float64 implementations of the project's tasks on the host, written independently of their
// reference.cu.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace kernelites::oracle {

/// A bf16 tensor's bits. A bf16 is the upper half of a float.
using Bf16 = std::vector<std::uint16_t>;

inline double to_double(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

/// Rounds to nearest even. REQUIRES: a finite value.
inline std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

/// y[m, n] = x[m, n] / sqrt(mean_n x^2 + eps) * w[n], for x [M, N].
inline std::vector<double> rmsnorm(const Bf16& x, const Bf16& w, float eps) {
  const std::size_t width = w.size();
  std::vector<double> y(x.size());
  for (std::size_t row = 0; row < x.size(); row += width) {
    double squares = 0;
    for (std::size_t n = 0; n < width; ++n) squares += to_double(x[row + n]) * to_double(x[row + n]);
    const double root = std::sqrt(squares / static_cast<double>(width) + static_cast<double>(eps));
    for (std::size_t n = 0; n < width; ++n) y[row + n] = to_double(x[row + n]) / root * to_double(w[n]);
  }
  return y;
}

/// y[m, n] = exp(x[m, n]) / sum_n exp(x[m, n]), for x [M, width].
inline std::vector<double> softmax(const Bf16& x, std::size_t width) {
  std::vector<double> y(x.size());
  for (std::size_t row = 0; row < x.size(); row += width) {
    double largest = to_double(x[row]), sum = 0;
    for (std::size_t n = 1; n < width; ++n) largest = std::max(largest, to_double(x[row + n]));
    for (std::size_t n = 0; n < width; ++n) sum += y[row + n] = std::exp(to_double(x[row + n]) - largest);
    for (std::size_t n = 0; n < width; ++n) y[row + n] /= sum;
  }
  return y;
}

/// Shape of a decode problem: q [batch, q_heads, channels], k and v [batch, capacity, kv_heads, channels].
struct DecodeShape {
  std::size_t batch = 0, q_heads = 0, kv_heads = 0, capacity = 0, channels = 0;
};

/// Outputs of decode attention: o [batch, q_heads, channels], lse [batch, q_heads].
struct Decode {
  std::vector<double> o;
  std::vector<double> lse;
};

/// Attention of one query over `keys` keys, the j-th of which (and its value) begins at `key_at(j)`: adds the output
/// to o and returns the log-sum-exp, -infinity without keys. All scores first, then their maximum, then the weights:
/// three passes, nothing running.
template <typename KeyAt>
double attend(double* o, const std::uint16_t* q, const Bf16& k, const Bf16& v, std::size_t keys,
              std::size_t channels, float scale, KeyAt key_at) {
  std::vector<double> weight(keys);
  double largest = -std::numeric_limits<double>::infinity();
  for (std::size_t j = 0; j < keys; ++j) {
    for (std::size_t d = 0; d < channels; ++d) weight[j] += to_double(q[d]) * to_double(k[key_at(j) + d]);
    weight[j] *= static_cast<double>(scale);
    largest = std::max(largest, weight[j]);
  }
  double sum = 0;
  for (double& value : weight) sum += value = std::exp(value - largest);
  for (std::size_t j = 0; j < keys; ++j) {
    for (std::size_t d = 0; d < channels; ++d) o[d] += weight[j] / sum * to_double(v[key_at(j) + d]);
  }
  return largest + std::log(sum);
}

inline Decode decode(const DecodeShape& shape, const Bf16& q, const Bf16& k, const Bf16& v,
                     const std::vector<std::int32_t>& lengths, float scale) {
  Decode out{.o = std::vector<double>(q.size()), .lse = {}};
  for (std::size_t row = 0; row < shape.batch * shape.q_heads; ++row) {
    const std::size_t b = row / shape.q_heads, head = row % shape.q_heads / (shape.q_heads / shape.kv_heads);
    const std::size_t at = row * shape.channels;
    const auto key_at = [&](std::size_t j) {
      return ((b * shape.capacity + j) * shape.kv_heads + head) * shape.channels;
    };
    out.lse.push_back(attend(&out.o[at], &q[at], k, v, static_cast<std::size_t>(lengths[b]), shape.channels,
                             scale, key_at));
  }
  return out;
}

/// Shape of a prefill problem: q [batch, queries, q_heads, channels], k and v [batch, keys, kv_heads, channels].
struct PrefillShape {
  std::size_t batch = 0, q_heads = 0, kv_heads = 0, queries = 0, keys = 0, channels = 0;
};

/// o as q, lse [batch, queries, q_heads]. Causal: the last query sees all keys, every other one a key less than its
/// next.
inline Decode prefill(const PrefillShape& shape, const Bf16& q, const Bf16& k, const Bf16& v, float scale,
                      bool is_causal) {
  Decode out{.o = std::vector<double>(q.size()), .lse = {}};
  for (std::size_t row = 0; row < shape.batch * shape.queries * shape.q_heads; ++row) {
    const std::size_t b = row / shape.q_heads / shape.queries, i = row / shape.q_heads % shape.queries;
    const std::size_t head = row % shape.q_heads / (shape.q_heads / shape.kv_heads),
                      at = row * shape.channels;
    const std::size_t below = shape.queries - 1 - i;  // queries after this one
    const std::size_t visible = !is_causal ? shape.keys : shape.keys > below ? shape.keys - below : 0;
    const auto key_at = [&](std::size_t j) {
      return ((b * shape.keys + j) * shape.kv_heads + head) * shape.channels;
    };
    out.lse.push_back(attend(&out.o[at], &q[at], k, v, visible, shape.channels, scale, key_at));
  }
  return out;
}

}  // namespace kernelites::oracle
