// SPDX-License-Identifier: Apache-2.0
// What a model server sends: event streams, documents and errors in three dialects.
#include <array>

#include "engine/llm/dialect.h"
#include "engine/llm/failure_policy.h"
#include "engine/llm/foreign_json.h"
#include "engine/llm/http_loop.h"
#include "engine/llm/server_sent_events.h"
#include "engine/llm/utf8_text.h"
#include "tests/fuzz/fuzzed_parser.h"

namespace kernelites::fuzz {
namespace {

constexpr std::array k_dialects = std::to_array<std::string_view>({"chat", "responses", "messages"});

void check_outcome(const ModelOutcome& outcome) {
  demand(outcome.failure.empty() || failure_policy(outcome.failure).failure == outcome.failure,
         "a failure has a row in the table");
  demand(valid_utf8(outcome.text) == outcome.text, "the text is UTF-8");
  if (outcome.usage)
    demand(outcome.usage->input_tokens >= 0 && outcome.usage->output_tokens >= 0, "tokens count up");
}

}  // namespace

void fuzz_stream(std::string_view input) {
  for (const ServerSentEvent& event : parse_server_sent_events(input)) parse_foreign_json(event.data);
  HttpResponse response;
  response.body = input;
  for (const std::string_view name : k_dialects) {
    for (const char* type : {"text/event-stream", "application/json"}) {
      for (const int status : {200, 429, 503}) {
        response.status = status;
        response.headers = {{"content-type", type}};
        check_outcome(read_response(response, *find_dialect(name)));
      }
    }
  }
}

}  // namespace kernelites::fuzz
