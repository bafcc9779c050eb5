// SPDX-License-Identifier: Apache-2.0
// The report without a browser: what is escaped, who may ask and steer, and that a page hears of what a run writes.
#include "tools/report/report_server.h"

#include <httplib.h>

#include <fstream>
#include <thread>

#include "engine/core/error.h"
#include "tests/support/catch.h"
#include "tests/support/large_run/large_run.h"
#include "tests/support/temporary_folder.h"
#include "tools/inspect/arm_table.h"
#include "tools/report/live_facts.h"
#include "tools/report/report_page.h"

using namespace kernelites;

namespace {

constexpr const char* k_token = "0123456789abcdef0123456789abcdef";

/// A served run of a few candidates.
class Served {
 public:
  explicit Served(const std::string& token = "") {
    write_large_run(folder_.path(),
                    {.data = KERNELITES_SOURCE_DIR, .variations = 40, .is_small = true, .text = {}});
    server_ = std::make_unique<ReportServer>(ServerSettings{
        .folder = folder_.path().string(), .token = token, .poll = std::chrono::milliseconds(20)});
    thread_ = std::thread([this] { server_->serve(); });
  }
  ~Served() {
    server_->stop();
    thread_.join();
  }

  httplib::Client client() const {
    httplib::Client client("127.0.0.1", server_->port());
    client.set_read_timeout(10);
    return client;
  }
  int port() const { return server_->port(); }
  std::filesystem::path steering() const { return folder_.path() / "steer.json"; }
  const std::filesystem::path& folder() const { return folder_.path(); }

  /// The status of a POST to /steer.
  int steer(const std::string& body, httplib::Headers headers) const {
    const auto reply = client().Post("/steer", headers, body, "application/json");
    return reply ? reply->status : 0;
  }

 private:
  TemporaryFolder folder_;
  std::unique_ptr<ReportServer> server_;
  std::thread thread_;
};

}  // namespace

TEST_CASE("a port that another server listens on is refused") {
  const Served served;
  CHECK_THROWS_AS(ReportServer({.folder = served.folder().string(), .port = served.port()}), ConfigError);
}

TEST_CASE("no text can end the data's element or begin another") {
  const Json hostile{{"summary", "</script><img src=x onerror=alert(1)><!-- & \u2028 \u2029 \xff"}};
  const std::string text = script_json(hostile);
  for (const char* bad : {"<", ">", "&", "\u2028", "\u2029", "\xff"})
    CHECK(text.find(bad) == std::string::npos);
  CHECK(Json::parse(text)["summary"].get<std::string>().starts_with("</script><img src=x"));
}

TEST_CASE("text in the page's frame is no markup") {
  CHECK(html_text("<b a='\"'>&") == "&lt;b a=&#39;&quot;&#39;&gt;&amp;");
}

TEST_CASE("the page's policy admits no network, and no script but its own") {
  const std::string policy = page_policy({});
  CHECK(policy.find("default-src 'none'") != std::string::npos);
  CHECK(policy.find("connect-src 'none'") != std::string::npos);
  CHECK(policy.find("unsafe") == std::string::npos);
  CHECK(page_policy({.is_live = true}).find("connect-src 'self'") != std::string::npos);
}

TEST_CASE("a value that looks like a place of the frame is not filled in again") {
  const Json data{{"run", {{"task", "{{data}} {{scripts}}"}, {"is_modelled", true}}}};
  const std::string page = report_page(data, {});
  CHECK(page.find("<title>{{data}} {{scripts}}") != std::string::npos);
}

TEST_CASE("the page is served to this machine's names only") {
  const Served served;
  auto client = served.client();
  CHECK(client.Get("/")->status == 200);
  CHECK(client.Get("/", {{"Host", "localhost:9999"}})->status == 200);  // a forwarded port
  for (const char* host : {"attacker.example", "attacker.example:80", "127.0.0.1.attacker.example", ""})
    CHECK(client.Get("/", {{"Host", host}})->status == 403);
  const auto page = client.Get("/");
  CHECK(page->get_header_value("Content-Security-Policy").find("frame-ancestors 'none'") !=
        std::string::npos);
  CHECK(page->get_header_value("X-Content-Type-Options") == "nosniff");
}

TEST_CASE("nobody steers unless it was allowed") {
  const Served served;
  CHECK(served.steer("{}", {{"X-Kernelites-Token", k_token}}) == 403);
  CHECK(served.steer("{}", {{"X-Kernelites-Token", ""}}) == 403);
  CHECK(!std::filesystem::exists(served.steering()));
}

TEST_CASE("steering takes the token, this origin, and what the run has") {
  const Served served(k_token);
  const httplib::Headers token{{"X-Kernelites-Token", k_token}};
  SECTION("with all of them it is written") {
    CHECK(served.steer(R"({"pause": true, "focus_cells": ["tma/mma_sync/occ50/split_kv"]})", token) == 200);
    const Json written = read_json(served.steering());
    CHECK(written.at("pause") == true);
    CHECK(written.at("focus_cells").size() == 1);
  }
  SECTION("what somebody else wrote since the page was loaded is not overwritten") {
    const auto post = [&](const std::string& revision) {
      return served.client().Post("/steer",
                                  {{"X-Kernelites-Token", k_token}, {"X-Kernelites-Steering", revision}},
                                  R"({"pause": true})", "application/json");
    };
    const auto first = post("none");
    REQUIRE(first);
    CHECK(first->status == 200);
    const std::string revision = Json::parse(first->body).at("revision");
    std::ofstream(served.steering()) << R"({"hints": ["by hand"]})";
    CHECK(post(revision)->status == 409);
    CHECK(read_json(served.steering()).contains("hints"));
    CHECK(post(steering_revision(served.folder().string()))->status == 200);
  }
  SECTION("without one of them nothing is") {
    CHECK(served.steer("{}", {}) == 403);
    CHECK(served.steer("{}", {{"X-Kernelites-Token", std::string(k_token).replace(31, 1, "0")}}) == 403);
    CHECK(served.steer("{}", {{"X-Kernelites-Token", k_token}, {"Origin", "http://attacker.example"}}) ==
          403);
    CHECK(served.steer("{}", {{"X-Kernelites-Token", k_token}, {"Origin", "null"}}) == 403);
    CHECK(served.steer("{}", {{"X-Kernelites-Token", k_token}, {"Sec-Fetch-Site", "cross-site"}}) == 403);
    CHECK(served.steer("{}", {{"X-Kernelites-Token", k_token}, {"Host", "attacker.example"}}) == 403);
    CHECK(served.steer(R"({"focus_cells": ["no/such/cell"]})", token) == 400);
    CHECK(served.steer(R"({"operators": {"rm -rf": 1}})", token) == 400);
    CHECK(served.steer("no JSON", token) == 400);
    CHECK(served.steer(R"({"hints": [")" + std::string(70'000, 'x') + R"("]})", token) == 413);
    CHECK(!std::filesystem::exists(served.steering()));
  }
  SECTION("a form of another page, which can send no such header, is refused") {
    const auto reply = served.client().Post("/steer", "pause=true", "application/x-www-form-urlencoded");
    CHECK(reply->status == 403);
  }
}

TEST_CASE("an event stream begins with the facts and tells what was written since") {
  const Served served;
  std::string heard;
  bool has_written = false;
  served.client().Get("/events", [&](const char* data, std::size_t length) {
    heard.append(data, length);
    if (heard.find("\n\n") == std::string::npos) return true;
    if (!has_written) {
      heard.clear();
      has_written = true;
      std::ofstream(served.steering()) << R"({"hints": ["told to the page"]})";
      return true;
    }
    return heard.find("told to the page") == std::string::npos;  // false ends the stream
  });
  CHECK(heard.starts_with("event: facts\ndata: {"));
}

TEST_CASE("a reading that failed is tried again, though nothing is written meanwhile") {
  const TemporaryFolder folder;
  write_large_run(folder.path(),
                  {.data = KERNELITES_SOURCE_DIR, .variations = 10, .is_small = true, .text = {}});
  LiveFacts facts(folder.path().string(), {}, std::chrono::milliseconds(20));
  const std::filesystem::path file = folder.path() / "run.db", away = folder.path() / "away.db";
  std::filesystem::rename(file, away);
  std::ofstream(folder.path() / "steer.json") << "{}";
  const auto failed = facts.newer(1, std::chrono::seconds(20));
  REQUIRE(failed);
  CHECK(!failed->problem.empty());
  CHECK(failed->data != nullptr);
  std::filesystem::rename(away, file);
  const auto mended = facts.newer(failed->revision, std::chrono::seconds(20));
  REQUIRE(mended);
  CHECK(mended->problem.empty());
}

TEST_CASE("a stream ends with the server") {
  auto served = std::make_unique<Served>();
  auto client = served->client();
  std::atomic<bool> is_open = false;
  std::thread reader(
      [&] { client.Get("/events", [&](const char*, std::size_t) { return is_open = true; }); });
  while (!is_open) std::this_thread::yield();
  served.reset();
  reader.join();
  SUCCEED("the reader came back");
}

TEST_CASE("a folder without a run is not served") {
  const TemporaryFolder folder;
  CHECK_THROWS_AS(ReportServer({.folder = folder.path().string(), .token = {}}), ConfigError);
}
