// SPDX-License-Identifier: Apache-2.0
// The client's half of the chaos: an endpoint kept full, and its replies compared with the server's records.
#include "tests/support/chaos_run.h"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>

#include "engine/llm/http_endpoint.h"
#include "tests/support/chaos_server.h"

namespace kernelites {
namespace {

using namespace std::chrono_literals;

constexpr int k_together = 64;
constexpr double k_usd_limit = 0.5;

const std::map<Mischief, int> k_mix = {
    {Mischief::stream, 200},      {Mischief::drip, 50},        {Mischief::rate_limit, 80},
    {Mischief::server_error, 50}, {Mischief::overload, 40},    {Mischief::stall, 5},
    {Mischief::stall_middle, 5},  {Mischief::cut, 40},         {Mischief::hang_up, 30},
    {Mischief::noise, 20},        {Mischief::broken_json, 20}, {Mischief::redirect, 20},
    {Mischief::filter, 20},       {Mischief::length, 20},
};

long thread_count() {
  return static_cast<long>(std::distance(std::filesystem::directory_iterator("/proc/self/task"), {}));
}

long rss_kib() {
  std::ifstream file("/proc/self/statm");
  long pages = 0, resident = 0;
  file >> pages >> resident;
  return resident * 4;
}

HttpEndpointSettings settings_for(const ChaosServer& server) {
  HttpEndpointSettings settings;
  settings.base_url = server.base_url();
  settings.shape.model = "chaos";
  settings.deadlines = {.connect = 5s, .first_byte = 2s, .idle = 2s, .total = 60s};
  settings.retry = {.attempts_max = 4, .backoff_first = 2ms, .backoff_max = 10ms};
  settings.breaker.failures_max = 1'000'000;  // it has tests of its own
  settings.prices = {.input_usd_per_million = 1000, .output_usd_per_million = 1000, .date = "2026-01-01"};
  settings.in_flight_max = k_together;
  return settings;
}

ModelRequest request_of(int number) {
  return {.id = std::to_string(number) + "-0",
          .ordinal = static_cast<std::uint64_t>(number),
          .messages = {{"user", "call " + std::to_string(number)}},
          .output_tokens_max = 100,
          .limit = {.usd = k_usd_limit}};
}

void compare(ChaosReport& report, const ModelReply& reply, const ChaosRecord& record) {
  report.wrong_failures += reply.failure != failure_of(record.last);
  report.wrong_attempts += reply.attempts != record.requests;
  if (!record.has_lost_one)
    report.wrong_usage +=
        reply.cost.input_tokens != 10 * record.answered || reply.cost.output_tokens != 5 * record.answered;
  report.usd_over_limit = std::max(report.usd_over_limit, most_of(reply.cost).usd - k_usd_limit);
  report.attempts += reply.attempts;
  report.server_requests += record.requests;
  ++report.failures[reply.failure];
}

}  // namespace

ChaosReport run_chaos(int calls, unsigned seed) {
  ChaosServer server(k_mix, seed);
  HttpLoop http;
  HttpEndpoint endpoint(settings_for(server), "sk-chaos-0123456789", http, {}, Rng(seed));
  ChaosReport report{.threads_before = thread_count()};
  std::vector<ModelReply> replies;
  replies.reserve(static_cast<std::size_t>(calls));
  std::vector<pollfd> nothing;
  const auto start = std::chrono::steady_clock::now();
  int submitted = 0;
  while (static_cast<int>(replies.size()) < calls && std::chrono::steady_clock::now() - start < 300s) {
    while (submitted < calls && submitted - static_cast<int>(replies.size()) < k_together)
      endpoint.submit(request_of(submitted++));
    endpoint.wait(nothing, 1s);
    endpoint.pump();
    while (auto reply = endpoint.take()) {
      replies.push_back(std::move(*reply));
      if (replies.size() % 50 == 0) report.threads_max = std::max(report.threads_max, thread_count());
      if (static_cast<int>(replies.size()) == calls / 10) report.rss_kib_before = rss_kib();
    }
  }
  report.rss_kib_after = rss_kib();
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  report.replies = static_cast<int>(replies.size());
  report.followed_redirects = server.followed_redirects();
  std::set<std::string> seen;
  for (const ModelReply& reply : replies) {
    report.repeated += !seen.insert(reply.id).second;
    const auto record = server.records().find(std::stoi(reply.id));
    compare(report, reply, record == server.records().end() ? ChaosRecord{} : record->second);
  }
  return report;
}

}  // namespace kernelites
