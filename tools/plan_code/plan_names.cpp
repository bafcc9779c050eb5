// SPDX-License-Identifier: Apache-2.0
// Types, and what names stand for.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "tools/plan_code/plan_writer.h"

namespace kernelites {
namespace {

using Kind = PlanType::Kind;

const std::set<std::string_view> k_scalar_words{"int",   "long",   "short",    "char",  "bool",
                                                "float", "double", "unsigned", "signed"};

/// As kernelites/std.cuh has them.
const std::map<std::string_view, std::string_view> k_standard_types{
    {"int8_t", "signed char"}, {"uint8_t", "unsigned char"},       {"int16_t", "short"},
    {"int32_t", "int"},        {"uint16_t", "unsigned short"},     {"uint32_t", "unsigned int"},
    {"int64_t", "long long"},  {"uint64_t", "unsigned long long"}, {"size_t", "unsigned long"},
    {"intptr_t", "long long"}, {"uintptr_t", "unsigned long long"}};

const std::set<std::string_view> k_device_types{
    "__half",      "__half2",      "half",          "half2",         "__nv_bfloat16", "__nv_bfloat162",
    "nv_bfloat16", "nv_bfloat162", "__nv_fp8_e4m3", "__nv_fp8_e5m2", "dim3"};
const std::set<std::string_view> k_vectors{"char", "uchar", "short",    "ushort",    "int",   "uint",
                                           "long", "ulong", "longlong", "ulonglong", "float", "double"};

const std::set<std::string_view> k_contract_values{
    "f16",          "bf16",       "f32",        "f64",        "e4m3",   "e5m2",          "i8",
    "u8",           "i32",        "i64",        "poisoned",   "zeroed", "self_clearing", "prepared",
    "swizzle_none", "swizzle_32", "swizzle_64", "swizzle_128"};
/// Functions of the contract, by how many arguments they take.
const std::map<std::string_view, std::size_t> k_contract_functions{
    {"cdiv", 2},    {"round_up", 2}, {"min", 2},  {"max", 2},       {"clamp", 3},
    {"is_pow2", 1}, {"log2", 1},     {"pow2", 1}, {"next_pow2", 1}, {"sqrt", 1}};

bool is_vector(std::string_view name) {
  return name.size() > 3 && name.back() >= '1' && name.back() <= '4' &&
         k_vectors.contains(name.substr(0, name.size() - 1));
}

bool is_of_contract(const PlanType& type) {
  return type.kind == Kind::tensor || type.kind == Kind::problem || type.kind == Kind::builder ||
         type.kind == Kind::facts;
}

}  // namespace

const PlanSymbol* PlanWriter::known(std::size_t step) const {
  return is_word(step) ? scopes_.find(token(step).text) : nullptr;
}

bool PlanWriter::starts_type() const {
  const std::string& word = token().text;
  if (!is_word()) return false;
  if (word == "const" || word == "auto" || word == "void" || k_scalar_words.contains(word) ||
      k_standard_types.contains(word) || k_device_types.contains(word) || is_vector(word))
    return true;
  if (word == "Problem") return !is("::", 1);
  if (word == "kl" || word == "kernelites") {
    static const std::set<std::string_view> k_types{"Tensor",  "Plan",          "Dtype",  "Device",
                                                    "Swizzle", "WorkspaceKind", "Launch", "TensorMap"};
    return is("::", 1) && k_types.contains(token(2).text);
  }
  const PlanSymbol* symbol = known();
  if (symbol == nullptr || symbol->kind != PlanSymbol::Kind::type) return false;
  std::size_t step = 1;
  if (is("<", step)) {  // behind the template's arguments
    int depth = 0;
    for (; at_ + step < tokens_.size(); ++step) {
      if (is("<", step)) ++depth;
      if (is(">", step)) --depth;
      if (is(">>", step)) depth -= 2;
      if (is(";", step) || is("{", step)) return false;
      if (depth <= 0) break;
    }
    ++step;
  }
  return !is("::", step);
}

PlanType PlanWriter::type() {
  bool is_const = takes("const");
  const bool is_char = is("char");
  PlanType found = base_type();
  if (takes("const")) is_const = true;
  if (is_char && is("*")) {
    if (!is_const) refuse("a text that is not const");
    ++at_;
    is_const = takes("const");
    found = {.kind = Kind::text, .text = "safe::Text"};
  }
  found.is_const = is_const;
  if (takes("&")) found.is_reference = true;
  if (is("*") || is("&&")) refuse("an address has no place in a plan");
  return found;
}

PlanType PlanWriter::base_type() {
  const std::string word = token().text;
  if (!is_word()) return refuse("a type is missing"), PlanType();
  if (k_scalar_words.contains(word)) return scalar_type();
  if (word == "auto") return ++at_, PlanType{.kind = Kind::automatic, .text = "auto"};
  if (word == "void") return ++at_, PlanType{.kind = Kind::nothing, .text = "void"};
  if (word == "Problem") return ++at_, PlanType{.kind = Kind::problem, .text = "Problem"};
  if (word == "std" && is("::", 1) && k_standard_types.contains(token(2).text)) at_ += 2;
  if (const auto standard = k_standard_types.find(token().text); standard != k_standard_types.end())
    return ++at_, PlanType{.kind = Kind::number, .text = std::string(standard->second)};
  if (k_device_types.contains(word) || is_vector(word))
    return ++at_, PlanType{.kind = Kind::device, .text = word};
  if (word == "kl" || word == "kernelites") {
    ++at_;
    expect("::");
    return contract_type(take_name());
  }
  const PlanSymbol* symbol = known();
  while (symbol != nullptr && symbol->kind == PlanSymbol::Kind::space && is("::", 1))
    at_ += 2, symbol = known();
  if (symbol == nullptr || symbol->kind != PlanSymbol::Kind::type)
    return refuse(fmt::format("\"{:.40}\" is no type that a plan may have", word)), PlanType();
  const PlanSymbol found = *symbol;
  ++at_;
  PlanType type = found.type;
  if (!found.written.empty()) type.text = found.written;
  if (found.is_template) type.text += template_arguments();
  return type;
}

PlanType PlanWriter::scalar_type() {
  int longs = 0;
  std::string sign, base;
  for (; is_word() && k_scalar_words.contains(token().text); ++at_) {
    const std::string& word = token().text;
    if (word == "long")
      ++longs;
    else if (word == "unsigned" || word == "signed")
      sign = word;
    else if (!base.empty() && base != "int" && word != "int")
      refuse("a type of two types");
    else if (base.empty() || base == "int")
      base = word == "int" && !base.empty() ? base : word;
  }
  const bool is_real = base == "float" || base == "double" || base == "bool";
  if (longs > 2 || (longs > 0 && !base.empty() && base != "int") || (is_real && !sign.empty()))
    refuse("a type that a plan may not have");
  if (base == "char" && sign.empty()) sign = "signed";  // as where a plan is evaluated, on every host
  std::string text = sign == "unsigned" || (sign == "signed" && base == "char") ? sign + " " : "";
  if (longs > 0)
    text += longs == 2 ? "long long" : "long";
  else
    text += base.empty() ? "int" : base;
  return {.kind = Kind::number, .text = text};
}

PlanType PlanWriter::contract_type(const std::string& name) {
  if (name == "Tensor") return {.kind = Kind::tensor, .text = "kl::Tensor"};
  if (name == "Plan") return {.kind = Kind::builder, .text = "kl::Plan"};
  if (name == "Device") return {.kind = Kind::facts, .text = "kl::Device"};
  if (name == "Dtype" || name == "Swizzle" || name == "WorkspaceKind")
    return {.kind = Kind::enumeration, .text = "kl::" + name};
  refuse(fmt::format("kl::{:.40} has no place in a plan", name));
  return {};
}

/// From `<` to `>`.
std::string PlanWriter::template_arguments() {
  expect("<");
  std::string text;
  const bool was_constant = is_constant_;
  is_constant_ = true;
  while (is_good() && !at_end()) {
    constexpr int k_sums = 9;  // no comparison, which would be the end
    text += (text.empty() ? "" : ", ") + ("(" + binary(k_sums).text + ")");
    if (!takes(",")) break;
  }
  is_constant_ = was_constant;
  if (is(">>"))
    tokens_[at_].text = ">";  // one of two that end here
  else
    expect(">");
  return "<" + text + ">";
}

PlanExpression PlanWriter::named() {
  if (is("kl") || is("kernelites")) return contract_name();
  if (is("Problem") && is("::", 1)) {
    at_ += 2;
    return {"Problem::" + take_name()};
  }
  if (is("std")) return refuse("the standard library has no place in a plan"), PlanExpression();
  const PlanSymbol* symbol = known();
  while (symbol != nullptr && symbol->kind == PlanSymbol::Kind::space && is("::", 1))
    at_ += 2, symbol = known();
  const std::string name = take_name();
  if (symbol == nullptr || !is_good()) {
    if (at_ > 0) --at_;
    refuse(fmt::format("\"{:.40}\" is no name that the plan declares before", name));
    return {};
  }
  const PlanSymbol found = *symbol;
  if (found.kind != PlanSymbol::Kind::type) return use_of(found, name);
  PlanType type = found.type;
  if (!found.written.empty()) type.text = found.written;
  if (found.is_template) type.text += template_arguments();
  if (takes("::")) return member_of(type);
  if (type.kind == Kind::number && is("(")) {
    ++at_;
    const std::string of = expression().text;
    expect(")");
    return cast(type, of);
  }
  if (type.kind == Kind::record && is("{")) {
    count_temporary();
    return {fmt::format("safe::Small<{}>{}", type.text, list(type))};
  }
  refuse("a type stands where a value is expected");
  return {};
}

PlanExpression PlanWriter::contract_name() {
  ++at_;
  expect("::");
  const std::string name = take_name();
  if (k_contract_values.contains(name)) return {"kl::" + name};
  const auto function = k_contract_functions.find(name);
  if (function == k_contract_functions.end())
    return refuse(fmt::format("kl::{:.40} has no place in a plan", name)), PlanExpression();
  std::string as;  // the type in `kl::min<long long>`
  if (takes("<")) {
    const PlanType type = this->type();
    if (type.kind != Kind::number) refuse("a number's type is expected");
    expect(">");
    as = type.text;
  }
  expect("(");
  std::string text = fmt::format("safe::{}({}", name, run_name());
  std::size_t count = 0;
  do {
    const std::string given = assignment().text;
    text += as.empty() ? ", " + given : fmt::format(", safe::to<{}>({}, {})", as, run_name(), given);
    ++count;
  } while (takes(","));
  expect(")");
  if (count != function->second) refuse(fmt::format("kl::{} takes {} arguments", name, function->second));
  return {text + ")"};
}

/// Behind `::`.
PlanExpression PlanWriter::member_of(const PlanType& type) {
  const std::string name = take_name();
  const auto found = type.record == nullptr ? std::map<std::string, PlanSymbol, std::less<>>::const_iterator()
                                            : type.record->statics.find(name);
  if (type.record == nullptr || found == type.record->statics.end()) {
    refuse(fmt::format("\"{:.40}\" is no constant of its type", name));
    return {};
  }
  PlanSymbol symbol = found->second;
  symbol.written = type.text + "::" + symbol.written;
  return use_of(symbol, name);
}

PlanExpression PlanWriter::use_of(const PlanSymbol& symbol, const std::string& name) {
  switch (symbol.kind) {
    case PlanSymbol::Kind::constant:
      return {symbol.written + (symbol.is_template ? template_arguments() : "")};
    case PlanSymbol::Kind::variable:
      if (is_constant_) refuse(fmt::format("\"{:.40}\" is no constant", name));
      return {.text = symbol.written,
              .is_place = symbol.is_place,
              .is_lasting = true,
              .is_contract = symbol.is_contract || is_of_contract(symbol.type)};
    case PlanSymbol::Kind::lambda:
    case PlanSymbol::Kind::function: {
      std::string written = symbol.written;
      if (symbol.kind == PlanSymbol::Kind::lambda || symbol.type.kind == Kind::record) count_temporary();
      if (symbol.is_template && is("<")) written += template_arguments();
      if (!is("("))
        return refuse(fmt::format("\"{:.40}\" is a function and is not called", name)), PlanExpression();
      if (symbol.kind == PlanSymbol::Kind::lambda && is_constant_)
        refuse(fmt::format("\"{:.40}\" is no constant", name));
      const std::vector<std::string> given = arguments(symbol.parameters);
      std::string text = symbol.kind == PlanSymbol::Kind::lambda
                             ? fmt::format("safe::call({}, {}", run_name(), written)
                             : fmt::format("{}({}", written, run_name());
      for (const std::string& argument : given) text += ", " + argument;
      return {.text = text + ")", .is_contract = is_of_contract(symbol.type)};
    }
    default:
      refuse(fmt::format("\"{:.40}\" is no value", name));
      return {};
  }
}

}  // namespace kernelites
