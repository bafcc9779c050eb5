// SPDX-License-Identifier: Apache-2.0
// Reading and checking single fields.
#include "engine/llm/endpoint_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>

namespace kernelites {
namespace {

using std::chrono::milliseconds;

constexpr double k_seconds_max = 24 * 3600;

bool is_date(const std::string& text) {
  const std::string form = "dddd-dd-dd";
  if (text.size() != form.size()) return false;
  for (std::size_t i = 0; i < form.size(); ++i) {
    const bool is_digit = std::isdigit(static_cast<unsigned char>(text[i])) != 0;
    if (form[i] == 'd' ? !is_digit : text[i] != '-') return false;
  }
  return true;
}

}  // namespace

milliseconds read_seconds(ObjectReader& reader, const char* key, milliseconds fallback) {
  const double seconds = reader.optional<double>(key, static_cast<double>(fallback.count()) / 1000);
  if (!(seconds > 0 && seconds <= k_seconds_max)) {
    reader.fail(key, fmt::format("expected seconds above 0, at most {}", k_seconds_max));
  }
  return milliseconds(std::max<std::int64_t>(1, std::llround(seconds * 1000)));
}

std::int64_t read_count(ObjectReader& reader, const char* key, std::int64_t fallback, std::int64_t max) {
  const auto count = reader.optional<std::int64_t>(key, fallback);
  if (count < 1 || count > max) reader.fail(key, fmt::format("expected 1 to {}", max));
  return count;
}

double read_amount(ObjectReader& reader, const char* key, double fallback, const char* what) {
  const double amount = reader.optional<double>(key, fallback);
  if (!(amount >= 0 && std::isfinite(amount)))
    reader.fail(key, fmt::format("expected {}, not negative", what));
  return amount;
}

std::string read_url(ObjectReader& reader, const char* key, const std::string& url) {
  const std::size_t scheme = url.find("://");
  std::string name = scheme == std::string::npos ? "" : url.substr(0, scheme);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  if ((name != "http" && name != "https") || url.size() == scheme + 3) {
    reader.fail(key, "expected a URL that starts with http:// or https://");
  }
  if (url.find_first_of(" \t\r\n#") != std::string::npos)
    reader.fail(key, "expected a URL without spaces and '#'");
  const std::string authority = url.substr(scheme + 3, url.find_first_of("/?", scheme + 3) - scheme - 3);
  if (authority.find('@') != std::string::npos) {
    reader.fail(key, "expected a URL without a user name or password; keys come from api_key_env");
  }
  return url;
}

std::string check_variable_name(ObjectReader& reader, const char* key, const std::string& name) {
  const bool is_name =
      std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) || c == '_'; });
  if (!is_name || (!name.empty() && std::isdigit(static_cast<unsigned char>(name[0]))))
    reader.fail(key, "expected the name of an environment variable (letters, digits, '_'), not a key");
  return name;
}

PriceList read_prices(ObjectReader& parent) {
  PriceList prices;
  if (!parent.has("prices")) return prices;
  constexpr const char* k_what = "US dollars per million tokens";
  ObjectReader reader(parent.member("prices"), parent.where(), parent.field("prices"));
  prices.input_usd_per_million = read_amount(reader, "input_usd_per_million", 0, k_what);
  prices.cached_input_usd_per_million =
      read_amount(reader, "cached_input_usd_per_million", prices.input_usd_per_million, k_what);
  prices.cache_write_usd_per_million =
      read_amount(reader, "cache_write_usd_per_million", prices.input_usd_per_million, k_what);
  prices.output_usd_per_million = read_amount(reader, "output_usd_per_million", 0, k_what);
  prices.date = reader.optional<std::string>("date", "");
  if (!is_date(prices.date))
    reader.fail("date", "expected the day on which the prices were looked up, YYYY-MM-DD");
  reader.finish();
  return prices;
}

}  // namespace kernelites
