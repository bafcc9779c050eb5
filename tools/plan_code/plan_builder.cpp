// SPDX-License-Identifier: Apache-2.0
// Members, and the calls of the contract's plan, launches, tensor maps and tensors.
#include <fmt/format.h>

#include <map>

#include "tools/plan_code/plan_writer.h"

namespace kernelites {
namespace {

/// What a call takes, letter by letter: t a text, b a condition, l a 64-bit number, i a 32-bit one, v anything. Those
/// behind `least` may be missing. `is_lasting`: it gives what the plan holds.
struct Method {
  const char* takes;
  std::size_t least;
  bool is_lasting;
};
const std::map<std::string_view, Method> k_methods{
    {"launch", {"t", 1, true}},       {"require", {"bt", 2, false}},  {"workspace", {"vlv", 2, false}},
    {"grid", {"lll", 1, true}},       {"block", {"lll", 1, true}},    {"cluster", {"lll", 1, true}},
    {"shared", {"l", 1, true}},       {"cooperative", {"", 0, true}}, {"programmatic", {"", 0, true}},
    {"prepare", {"", 0, true}},       {"carveout", {"i", 1, true}},   {"priority", {"i", 1, true}},
    {"after", {"i", 1, true}},        {"arg", {"v", 1, true}},        {"elements", {"", 0, false}},
    {"view", {"llllllll", 1, false}}, {"as", {"v", 1, false}},        {"with_stride", {"ll", 2, false}},
    {"l2_promotion", {"i", 1, true}}, {"offset", {"l", 1, true}},     {"step", {"ii", 2, true}},
    {"tensor_map", {"", 0, true}}};

/// They compute: functions of plan_arithmetic.h do so for them.
const std::set<std::string_view> k_checked{"with_stride", "elements", "view", "workspace", "offset"};

}  // namespace

/// Behind the dot.
PlanExpression PlanWriter::method(const PlanExpression& of) {
  const std::string name = take_name();
  if (name.ends_with("_") || name == "id") {
    refuse(fmt::format("\"{:.40}\" is the contract's own", name));
    return {};
  }
  if (!is("(")) {
    // Where it is not known what stands before the dot, a wrong guess is no member of it, and does not compile.
    const bool is_own = members_.contains(name) && !of.is_contract;
    return {.text = of.text + "." + (is_own ? member_name(name) : name),
            .is_place = of.is_place && is_own,
            .is_lasting = of.is_lasting,
            .is_contract = of.is_contract};
  }
  if (const PlanSymbol* own = own_method(name); own != nullptr && !of.is_contract) {
    if (own->type.kind == PlanType::Kind::record) count_temporary();
    std::string text = of.text + "." + own->written + "(" + run_name();
    for (const std::string& argument : arguments(own->parameters)) text += ", " + argument;
    return {.text = text + ")", .is_contract = own->type.kind == PlanType::Kind::tensor};
  }
  const auto found = k_methods.find(name);
  if (found == k_methods.end()) {
    refuse(fmt::format("\"{:.40}\" is no function that a plan may call", name));
    return {};
  }
  if (name == "tensor_map")
    return {.text = tensor_map(of.text), .is_lasting = of.is_lasting, .is_contract = true};
  expect("(");
  const bool is_checked = k_checked.contains(name);
  std::string text =
      is_checked ? fmt::format("safe::{}({}, {}", name, run_name(), of.text) : of.text + "." + name + "(";
  const std::string_view takes_these = found->second.takes;
  std::size_t count = 0;
  for (; is_good() && !is(")"); ++count) {
    if (count >= takes_these.size()) refuse(fmt::format("\"{}\" is given more than it takes", name));
    text += (count > 0 || is_checked ? ", " : "") +
            builder_argument(count < takes_these.size() ? takes_these[count] : 'v', name);
    if (!takes(",")) ++count;
    if (is(")")) break;
  }
  expect(")");
  if (count < found->second.least && is_good())
    refuse(fmt::format("\"{}\" is given less than it takes", name));
  return {.text = text + ")", .is_lasting = of.is_lasting && found->second.is_lasting, .is_contract = true};
}

std::string PlanWriter::builder_argument(char taken, const std::string& method) {
  if (method == "arg" && takes("nullptr")) return "nullptr";
  const std::string given = assignment().text;
  switch (taken) {
    case 't':
      return "safe::text(" + given + ")";
    case 'b':
      return "safe::truth(" + given + ")";
    case 'l':
      return fmt::format("safe::to<long long>({}, {})", run_name(), given);
    case 'i':
      return fmt::format("safe::to<int>({}, {})", run_name(), given);
    default:
      return given;
  }
}

/// `(tensor, {axes}, {box}, swizzle)`.
std::string PlanWriter::tensor_map(const std::string& of) {
  expect("(");
  std::string text = fmt::format("safe::tensor_map({}, {}, {}", run_name(), of, assignment().text);
  for (int i = 0; i < 2; ++i) {
    expect(",");
    text += ", " + list({.kind = PlanType::Kind::number, .text = "int"});
  }
  if (takes(",")) text += ", " + assignment().text;
  expect(")");
  return text + ")";
}

/// A function of a struct of the plan; one name has one in all of them.
const PlanSymbol* PlanWriter::own_method(const std::string& name) const {
  const auto found = methods_.find(name);
  return found == methods_.end() ? nullptr : &found->second;
}

}  // namespace kernelites
