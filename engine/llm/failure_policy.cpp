// SPDX-License-Identifier: Apache-2.0
// The table of failures.
#include "engine/llm/failure_policy.h"

#include <algorithm>

namespace kernelites {
namespace {

// clang-format off
constexpr FailurePolicy k_policies[] = {
    // failure               retry  blame  fall   remedy
    // The transport.
    {"unreachable",          true,  true,  true,  "check base_url, the network and the proxy"},
    {"connect_timeout",      true,  true,  true,  "check base_url and the network, or raise deadlines.connect_s"},
    {"first_byte_timeout",   true,  true,  true,  "the server is slow to begin: raise deadlines.first_byte_s"},
    {"idle_timeout",         true,  true,  true,  "the server stops in the middle: raise deadlines.idle_s"},
    {"timeout",              false, true,  true,  "the call took too long: raise deadlines.total_s"},
    {"connection_lost",      true,  true,  true,  "the connection broke: try again, check the proxy"},
    {"stream_broken",        true,  true,  true,  "the stream ended early: try again, or set stream to false"},
    {"untrusted_server",     false, false, true,  "name the authority's certificate in ca_file"},
    {"not_sendable",         false, false, true,  "correct base_url or proxy"},
    {"reply_too_big",        false, false, false, "ask for fewer tokens"},
    // What the server says.
    {"redirected",           false, false, true,  "correct base_url: redirects are not followed"},
    {"unauthorised",         false, false, true,  "check the key that api_key_env or api_key_file names"},
    {"forbidden",            false, false, true,  "this key may not use this model"},
    {"quota_exhausted",      false, false, true,  "the account has no credit"},
    {"not_found",            false, false, true,  "check model and base_url"},
    {"prompt_too_long",      false, false, true,  "shorten the prompt, or take a model with a longer context"},
    {"bad_request",          false, false, true,  "the server does not accept a parameter: see its words"},
    {"rate_limited",         true,  false, true,  "lower in_flight_max, or set limits"},
    {"overloaded",           true,  true,  true,  "wait, or name a second endpoint"},
    {"server_error",         true,  true,  true,  "wait, or name a second endpoint"},
    // The answer.
    {"malformed_reply",      false, true,  true,  "this is not a model server of this kind: check base_url and api"},
    {"empty_reply",          false, false, true,  "raise output_tokens_max: a thinking model may have used it up"},
    {"length",               false, false, false, "raise output_tokens_max"},
    {"content_filter",       false, false, true,  "the server withholds the answer"},
    {"refused",              false, false, true,  "the model refuses to answer"},
    // Ours.
    {"circuit_open",         false, false, true,  "the server failed many times in a row: wait"},
    {"cancelled",            false, false, false, "the run ended the call"},
    {"no_recorded_reply",    false, false, false, "record the run again, or choose another match"},
    // A command.
    {"command_failed",       false, false, true,  "run the command by hand in an empty folder"},
    {"no_jail",              false, false, true,  "a command needs Landlock and namespaces: see docs/endpoints.md"},
};
// clang-format on

constexpr FailurePolicy k_unknown = {"", false, false, false, "see the message"};

}  // namespace

std::span<const FailurePolicy> failure_policies() { return k_policies; }

const FailurePolicy& failure_policy(std::string_view failure) {
  const auto row = std::find_if(std::begin(k_policies), std::end(k_policies),
                                [&](const FailurePolicy& policy) { return policy.failure == failure; });
  return row == std::end(k_policies) ? k_unknown : *row;
}

}  // namespace kernelites
