// SPDX-License-Identifier: Apache-2.0
// What names mean while a plan is written anew.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace kernelites {

/// A type as plans may have it. `text`: how it is written.
struct PlanType {
  enum class Kind {
    none,         ///< no type
    nothing,      ///< void
    automatic,    ///< auto
    number,       ///< whole or real
    enumeration,  ///< of the plan or of the contract
    text,         ///< const char*
    record,       ///< a struct of the plan
    tensor,       ///< kl::Tensor
    problem,      ///< Problem
    builder,      ///< kl::Plan
    facts,        ///< kl::Device
    device        ///< of device code, for the size of a struct: float4, __half
  } kind = Kind::none;
  std::string text;
  bool is_const = false, is_reference = false;
  std::shared_ptr<const struct PlanRecord> record;  ///< of a record
};

struct PlanParameter {
  PlanType type;
};

struct PlanSymbol {
  enum class Kind { constant, variable, lambda, function, type, space } kind = Kind::variable;
  std::string written;  ///< its name in what is written
  bool is_template = false;
  bool is_place = false;                  ///< of a variable: it may be assigned
  bool is_contract = false;               ///< of a variable: what it is comes from the contract
  PlanType type;                          ///< of a type: what it is; of a function: its result
  std::vector<PlanParameter> parameters;  ///< of a function or lambda
};

/// How a member of a struct is written: no other name ends so, so it hides none and is found behind any dot.
inline std::string member_name(const std::string& name) { return name + "_own"; }

/// What is known of a struct.
struct PlanRecord {
  std::map<std::string, PlanSymbol, std::less<>> statics;  ///< constants and functions behind `::`
  std::map<std::string, PlanSymbol, std::less<>> methods;
  std::vector<PlanType> members;  ///< in their order; of kind none where it is an array
};

/// Names that are seen, the innermost scope last.
class PlanScopes {
 public:
  PlanScopes() : scopes_(1) {}

  void open() { scopes_.emplace_back(); }
  void close() { scopes_.pop_back(); }
  /// False if the scope has the name already.
  bool add(const std::string& name, PlanSymbol symbol) {
    return scopes_.back().emplace(name, std::move(symbol)).second;
  }
  const PlanSymbol* find(const std::string& name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
      if (const auto found = scope->find(name); found != scope->end()) return &found->second;
    return nullptr;
  }
  std::size_t depth() const { return scopes_.size(); }

 private:
  std::vector<std::map<std::string, PlanSymbol, std::less<>>> scopes_;
};

}  // namespace kernelites
