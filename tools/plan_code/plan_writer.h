// SPDX-License-Identifier: Apache-2.0
// Reads the tokens of a plan by a grammar of our own and writes what it read anew.
//
// The grammar is the one of plan_code.h. Every name is resolved here and gets a name of ours; every operator becomes a
// function of plan_arithmetic.h or stands in parentheses. So a compiler reads nothing in what is written that was not
// read here, and what was not read is refused. For this folder alone.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tools/plan_code/plan_tokens.h"
#include "tools/plan_code/plan_types.h"

namespace kernelites {

/// An expression as it is written.
struct PlanExpression {
  std::string text;
  bool is_place = false;     ///< it may stand left of `=`
  bool is_lasting = false;   ///< it is there as long as the names that it uses
  bool is_contract = false;  ///< it is known to be Problem, a tensor, or another thing of the contract
};

class PlanWriter {
 public:
  explicit PlanWriter(std::vector<PlanToken> tokens) : tokens_(std::move(tokens)) {}

  /// The text, or nothing: `problem` says why.
  std::optional<std::string> run();
  const std::string& problem() const { return problem_; }

 private:
  // Tokens (plan_writer.cpp).
  const PlanToken& token(std::size_t step = 0) const;
  bool is(std::string_view text, std::size_t step = 0) const;
  bool is_word(std::size_t step = 0) const { return token(step).kind == PlanToken::Kind::word; }
  bool takes(std::string_view text);
  void expect(std::string_view text);
  /// The first refusal stays; nothing is read after it.
  void refuse(const std::string& words);
  bool is_good() const { return problem_.empty(); }
  bool at_end() const { return token().kind == PlanToken::Kind::end; }
  /// A name that a plan may give, and its token taken.
  std::string take_name();
  /// Adds it to the innermost scope, under a name of ours.
  std::string declare(const std::string& name, PlanSymbol symbol);
  std::string fresh(const std::string& name);
  /// One more thing that may take room in a frame.
  void count_temporary();
  void skip_attributes();
  /// Whether `wanted` was one of them.
  bool skip_qualifiers(std::string_view wanted);

  // Types (plan_names.cpp).
  const PlanSymbol* known(std::size_t step = 0) const;
  bool starts_type() const;
  PlanType type();
  PlanType base_type();
  PlanType scalar_type();
  PlanType contract_type(const std::string& name);
  std::string template_arguments();
  /// `kl::name`, `Problem::D`, `Config<D>::X`, a variable, a call of a function.
  PlanExpression named();
  PlanExpression contract_name();
  PlanExpression member_of(const PlanType& type);
  PlanExpression use_of(const PlanSymbol& symbol, const std::string& name);

  // Expressions (plan_expressions.cpp).
  PlanExpression expression();  ///< with commas
  PlanExpression assignment();
  PlanExpression choice();
  PlanExpression binary(int lowest);
  PlanExpression unary();
  PlanExpression primary();
  PlanExpression postfix(PlanExpression of);
  PlanExpression size();
  PlanExpression cast(const PlanType& type, const std::string& of);
  PlanExpression constructed();
  PlanExpression bracketed();
  std::string constant_expression();
  /// What a function is given, converted to what it takes.
  std::vector<std::string> arguments(const std::vector<PlanParameter>& parameters);
  std::string list(const PlanType& type);  ///< in braces
  std::string run_name() const { return is_constant_ ? "safe::Run().self()" : "run"; }

  // Calls of the contract (plan_builder.cpp).
  PlanExpression method(const PlanExpression& of);
  std::string builder_argument(char taken, const std::string& method);
  std::string tensor_map(const std::string& of);
  const PlanSymbol* own_method(const std::string& name) const;

  // Statements (plan_statements.cpp).
  void statement();
  void block();
  void body();
  void if_statement();
  void for_statement();
  void range_statement();
  void while_statement();
  void do_statement();
  void switch_statement();
  void return_statement();
  bool is_range() const;
  void local_declaration();
  void variables(bool is_constant, bool is_global);
  void variable(const PlanType& type, bool is_constant, bool is_global);
  /// As a constant if it is one, for what is const.
  bool constant_variable(const PlanType& type, const std::string& name);
  /// The initialiser of a variable: `= x`, `{x}`, `(x)`, or nothing.
  std::string initial(const PlanType& type, bool* is_contract = nullptr);
  std::string extents();
  void array(const PlanType& type, const std::string& name, bool is_constant, bool is_global);
  void reference(const PlanType& type, const std::string& name);
  void lambda(const std::string& name);
  void alias();
  void type_definition();
  void static_assertion();
  bool ends_with_return() const;

  // Declarations (plan_declarations.cpp).
  void top_level();
  void space();
  std::string template_parameters();
  void constant_template(const std::string& parameters);
  void declaration();
  void enumeration();
  void record(const std::string& parameters);
  std::string alignment();
  void member(PlanRecord& record, const std::string& name);
  void member_variables(PlanRecord& record, const PlanType& type);
  void static_constants(PlanRecord& record, const PlanType& type);
  /// From its name on. `record`: of which it is a member.
  void function(const std::string& parameters, const PlanType& result, PlanRecord* record, bool is_static);
  std::string parameter_list(PlanSymbol& symbol);
  void function_body(const PlanType& result);

  void line(const std::string& text);

  std::vector<PlanToken> tokens_;
  std::size_t at_ = 0;
  std::string problem_, out_;
  PlanScopes scopes_;
  std::set<std::string, std::less<>> members_;              ///< variables that structs of the plan have
  std::map<std::string, PlanSymbol, std::less<>> methods_;  ///< of structs of the plan
  int names_ = 0, depth_ = 0, indent_ = 0, records_ = 0, temporaries_ = 0;
  bool is_constant_ = false;
  bool is_default_ = false;  ///< of a struct's member, so that each number in a list is a constant
  PlanType result_;          ///< of the function that is read
};

}  // namespace kernelites
