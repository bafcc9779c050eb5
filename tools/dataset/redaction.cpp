// SPDX-License-Identifier: Apache-2.0
// Known secrets by value, others by the form that services give their keys.
#include "tools/dataset/redaction.h"

#include <array>
#include <cctype>
#include <set>
#include <string_view>

#include "engine/core/error.h"
#include "engine/llm/secret_text.h"

namespace kernelites {
namespace {

/// How a key begins, and how many characters of a token follow at least.
struct KeyForm {
  std::string_view prefix;
  std::size_t tail_min;
};
constexpr std::array<KeyForm, 12> k_key_forms{{{"sk-", 20},
                                               {"sk_live_", 16},
                                               {"ghp_", 20},
                                               {"gho_", 20},
                                               {"github_pat_", 20},
                                               {"glpat-", 16},
                                               {"hf_", 24},
                                               {"nvapi-", 20},
                                               {"xoxb-", 16},
                                               {"AKIA", 16},
                                               {"AIza", 30},
                                               {"Bearer ", 16}}};
constexpr std::string_view k_secret = "[secret]";

bool is_token(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.';
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }

void blot_out_form(std::string& text, const KeyForm& form) {
  for (std::size_t at = text.find(form.prefix); at != std::string::npos;
       at = text.find(form.prefix, at + 1)) {
    if (at > 0 && is_token(text[at - 1])) continue;
    const std::size_t begin = at + form.prefix.size();
    std::size_t end = begin;
    while (end < text.size() && is_token(text[end])) ++end;
    if (end - begin >= form.tail_min) text.replace(at, end - at, k_secret);
  }
}

void blot_out_private_keys(std::string& text) {
  constexpr std::string_view k_begin = "-----BEGIN ", k_what = "PRIVATE KEY-----", k_end = "-----END ";
  for (std::size_t at = text.find(k_begin); at != std::string::npos; at = text.find(k_begin, at + 1)) {
    const std::size_t what = text.find(k_what, at);
    if (what == std::string::npos || what - at > 40) continue;
    std::size_t end = text.find(k_end, what);
    end = end == std::string::npos ? text.size() : text.find('\n', end);
    text.replace(at, (end == std::string::npos ? text.size() : end) - at, k_secret);
  }
}

/// "hold_out_3_1" is how the worker names a drawn shape.
void blot_out_hidden(std::string& text) {
  constexpr std::string_view k_prefix = "hold_out_";
  for (std::size_t at = text.find(k_prefix); at != std::string::npos; at = text.find(k_prefix, at + 1)) {
    std::size_t end = at + k_prefix.size();
    while (end < text.size() && (is_digit(text[end]) || text[end] == '_')) ++end;
    if (end > at + k_prefix.size()) text.replace(at, end - at, "[hidden]");
  }
}

/// PATH, HOME and LANG are handed to agents too, and their values are words of many texts.
bool is_key_name(std::string name) {
  for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  for (const char* word : {"KEY", "TOKEN", "SECRET", "PASSW", "CREDENTIAL"})
    if (name.find(word) != std::string::npos) return true;
  return false;
}

/// What a configuration says of where keys are: it never holds one itself.
struct KeyPlaces {
  std::set<std::string> variables{"OPENAI_API_KEY", "ANTHROPIC_API_KEY"};
  std::set<std::string> files;
};

void collect(const Json& json, KeyPlaces& places) {
  if (!json.is_structured()) return;
  const auto text = [&](const char* key, std::set<std::string>& into) {
    if (json.is_object() && json.contains(key) && json.at(key).is_string())
      into.insert(json.at(key).get<std::string>());
  };
  text("api_key_env", places.variables);
  text("api_key_file", places.files);
  if (json.is_object() && json.contains("environment"))
    for (const Json& name : json.at("environment"))
      if (name.is_string() && is_key_name(name.get<std::string>()))
        places.variables.insert(name.get<std::string>());
  for (const Json& child : json) collect(child, places);
}

}  // namespace

std::vector<std::string> keys_named_in(const Json& configuration, const SecretSource& source) {
  KeyPlaces places;
  collect(configuration, places);
  std::vector<std::string> keys;
  for (const std::string& name : places.variables)
    if (const auto key = source(name); key && !key->empty()) keys.push_back(*key);
  for (const std::string& file : places.files) {
    try {
      keys.push_back(key_from_file(file, "api_key_file"));
    } catch (const ConfigError&) {  // another machine's run: its key is not here
    }
  }
  return keys;
}

std::string redacted(std::string text, const std::vector<std::string>& secrets) {
  for (const std::string& secret : secrets) blot_out(text, secret);
  for (const KeyForm& form : k_key_forms) blot_out_form(text, form);
  blot_out_private_keys(text);
  blot_out_hidden(text);
  return text;
}

void redact(Json& json, const std::vector<std::string>& secrets) {
  if (json.is_string()) json = redacted(json.get<std::string>(), secrets);
  if (json.is_structured())
    for (Json& child : json) redact(child, secrets);
}

}  // namespace kernelites
