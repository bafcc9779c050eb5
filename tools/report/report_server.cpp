// SPDX-License-Identifier: Apache-2.0
// Routes and their guards over cpp-httplib.
#include "tools/report/report_server.h"

#include <fmt/format.h>
#include <httplib.h>
#include <sodium.h>

#include <atomic>
#include <mutex>

#include "engine/core/digest.h"
#include "engine/core/error.h"
#include "engine/search/run_folder.h"
#include "engine/search/steering.h"
#include "tools/inspect/arm_table.h"
#include "tools/report/live_facts.h"

namespace kernelites {
namespace {

constexpr const char* k_loopback = "127.0.0.1";
constexpr std::chrono::seconds k_heartbeat{10};
constexpr std::chrono::seconds k_quick{1};
constexpr std::size_t k_other_threads = 8;

/// "127.0.0.1:8123" and "localhost" are this machine; the port may be a forwarded one.
bool is_loopback(const std::string& host) {
  const std::string name = host.substr(0, host.rfind(':'));
  return name == k_loopback || name == "localhost";
}

/// Pages of other sites may send requests here, but neither choose these headers nor read the answer.
bool is_own_origin(const httplib::Request& request) {
  const std::string site = request.get_header_value("Sec-Fetch-Site");
  if (!site.empty() && site != "same-origin") return false;
  const std::string origin = request.get_header_value("Origin");
  return origin.empty() || origin == "http://" + request.get_header_value("Host");
}

void refuse(httplib::Response& response, int status, const std::string& words) {
  response.status = status;
  response.set_content(words + "\n", "text/plain; charset=utf-8");
}

bool is_token(const std::string& given, const std::string& token) {
  return !token.empty() && given.size() == token.size() &&
         sodium_memcmp(given.data(), token.data(), token.size()) == 0;
}

std::string event_text(const LiveState& state) {
  if (!state.problem.empty()) return "event: problem\ndata: " + script_json(state.problem) + "\n\n";
  return "event: facts\ndata: " + script_json(*state.data) + "\n\n";
}

/// What steer.json may name, out of what the page shows: endpoints of arms, cells of the grid.
SteeringNames names_in(const Json& data) {
  SteeringNames names;
  for (const Json& arm : data.at("arms"))
    if (const std::string endpoint = arm.value("endpoint", ""); !endpoint.empty())
      names.endpoints.insert(endpoint);
  std::vector<std::string> cells{""};
  for (const Json& axis : data.at("axes")) {
    std::vector<std::string> longer;
    for (const std::string& cell : cells)
      for (const Json& label : axis.at("labels"))
        longer.push_back((cell.empty() ? "" : cell + "/") + label.get<std::string>());
    cells = std::move(longer);
  }
  names.cells.insert(cells.begin(), cells.end());
  return names;
}

}  // namespace

struct ReportServer::Body {
  Body(const ServerSettings& given, const PageOptions& page)
      : settings(given), options(page), facts(given.folder, page, given.poll) {}

  void send_page(httplib::Response& response) {
    response.set_content(report_page(*facts.now().data, options), "text/html; charset=utf-8");
  }

  void stream(httplib::Response& response) {
    if (streams.fetch_add(1) >= k_streams_max) {
      --streams;
      return refuse(response, 503, "too many pages follow this run");
    }
    auto seen = std::make_shared<std::int64_t>(0);
    response.set_chunked_content_provider(
        "text/event-stream",
        [this, seen, quiet = std::chrono::seconds(0)](std::size_t, httplib::DataSink& sink) mutable {
          const auto state = facts.newer(*seen, k_quick);
          if (facts.is_stopped()) return sink.done(), true;
          quiet = state ? std::chrono::seconds(0) : quiet + k_quick;
          // A line that says nothing finds out that nobody listens any more.
          std::string text = quiet >= k_heartbeat ? ":\n\n" : "";
          if (state) text = event_text(*state), *seen = state->revision;
          if (text.empty()) return true;
          quiet = std::chrono::seconds(0);
          return sink.write(text.data(), text.size());
        },
        [this](bool) { --streams; });
  }

  void steer(const httplib::Request& request, httplib::Response& response) {
    if (settings.token.empty()) return refuse(response, 403, "steering is off: serve with --steer");
    if (!is_own_origin(request)) return refuse(response, 403, "from another origin");
    if (!is_token(request.get_header_value("X-Kernelites-Token"), settings.token))
      return refuse(response, 403, "the token is missing or wrong");
    if (request.get_header_value("Content-Type").rfind("application/json", 0) != 0)
      return refuse(response, 415, "expected application/json");
    try {
      const std::filesystem::path file = RunFolder{settings.folder}.steering();
      const SteeringNames names = names_in(*facts.now().data);
      const Json json = steering_json(parse_steering(parse_json(request.body, "steer"), "steer", names));
      // Who says what he began from does not overwrite what somebody else has written since.
      const std::string base = request.get_header_value("X-Kernelites-Steering");
      const std::lock_guard lock(steering);
      if (!base.empty() && base != steering_revision(settings.folder))
        return refuse(response, 409, "steer.json was changed meanwhile: load the page again to see it");
      write_text_atomically(file, json.dump(2) + "\n");
      response.set_content(Json{{"revision", steering_revision(settings.folder)}}.dump() + "\n",
                           "application/json");
    } catch (const ConfigError& error) {
      return refuse(response, 400, error.what());
    }
  }

  void add_routes() {
    server.set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      if (is_loopback(request.get_header_value("Host"))) return httplib::Server::HandlerResponse::Unhandled;
      refuse(response, 403, "this page is served to this machine only");
      return httplib::Server::HandlerResponse::Handled;
    });
    server.set_default_headers(
        {{"Content-Security-Policy", page_policy(options) + "; frame-ancestors 'none'"},
         {"X-Content-Type-Options", "nosniff"},
         {"X-Frame-Options", "DENY"},
         {"Referrer-Policy", "no-referrer"},
         {"Cross-Origin-Resource-Policy", "same-origin"},
         {"Cache-Control", "no-store"}});
    server.Get("/", [this](const httplib::Request&, httplib::Response& response) { send_page(response); });
    server.Get("/data.json", [this](const httplib::Request&, httplib::Response& response) {
      response.set_content(script_json(*facts.now().data), "application/json");
    });
    server.Get("/events", [this](const httplib::Request&, httplib::Response& response) { stream(response); });
    server.Post("/steer", [this](const httplib::Request& request, httplib::Response& response) {
      steer(request, response);
    });
    server.set_exception_handler([](const httplib::Request&, httplib::Response& response,
                                    std::exception_ptr) { refuse(response, 500, "the run cannot be read"); });
  }

  ServerSettings settings;
  PageOptions options;
  std::atomic<int> streams{0};
  std::mutex steering;  // one change after the other
  int port = 0;
  LiveFacts facts;
  httplib::Server server;  // after the facts, for which its threads wait: it is gone before them
};

ReportServer::ReportServer(const ServerSettings& settings)
    : body_(std::make_unique<Body>(settings, PageOptions{.is_live = true,
                                                         .can_steer = !settings.token.empty(),
                                                         .libraries = settings.libraries})) {
  body_->server.new_task_queue = [] { return new httplib::ThreadPool(k_streams_max + k_other_threads); };
  body_->server.set_payload_max_length(k_steering_bytes_max);
  body_->server.set_keep_alive_max_count(1000);
  // Not the library's SO_REUSEPORT, with which two servers would take turns at one port.
  body_->server.set_socket_options([](socket_t socket) {
    const int yes = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  });
  body_->add_routes();
  if (settings.port == 0)
    body_->port = body_->server.bind_to_any_port(k_loopback);
  else if (body_->server.bind_to_port(k_loopback, settings.port))
    body_->port = settings.port;
  if (body_->port <= 0)
    throw ConfigError("--port", fmt::to_string(settings.port),
                      "cannot be listened on: expected a free port, or 0");
}

ReportServer::~ReportServer() { stop(); }

int ReportServer::port() const { return body_->port; }
std::string ReportServer::url() const { return fmt::format("http://{}:{}/", k_loopback, body_->port); }
void ReportServer::serve() {
  if (!body_->facts.is_stopped()) body_->server.listen_after_bind();
}

void ReportServer::stop() {
  body_->facts.stop();
  body_->server.stop();
}

std::string fresh_token() { return Key::random().hex().substr(0, 32); }

}  // namespace kernelites
