// SPDX-License-Identifier: Apache-2.0
// Links a kernel with the functions it calls into one image.
//
// Callees come before their callers, so that with the lowest pc first the lanes inside a call run before those that
// skipped it, and meet again behind it. Every function has one static frame in local memory and its own registers;
// what recursion needs beyond that is in calls.cpp.
#include <algorithm>

#include "evaluators/worker/vgpu/calls.h"
#include "evaluators/worker/vgpu/decoder.h"
#include "evaluators/worker/vgpu/program.h"
#include "evaluators/worker/vgpu/special.h"

namespace kernelites::worker::vgpu {
namespace {

constexpr u32 k_fixed_predicates_bytes = 20;  ///< true, false, two of scratch, carry

u32 align_up(u32 value, u32 to) { return (value + to - 1) / to * to; }

template <class Visit>
void visit_symbols(const Function& function, Visit visit) {
  for (const Statement& statement : function.statements) {
    for (const Operand& operand : statement.operands) {
      if (operand.local < 0 && !operand.name.empty()) visit(operand.name);
      for (const Operand& element : operand.elements) {
        if (element.local < 0 && !element.name.empty()) visit(element.name);
      }
    }
  }
}

/// The least width of an access to shared memory, or to memory that may be shared.
u8 shared_granule(const Function& function) {
  u32 least = 4;
  for (const Statement& statement : function.statements) {
    const bool is_access =
        statement.is("ld") || statement.is("st") || statement.is("atom") || statement.is("red");
    if (!is_access || statement.has("global") || statement.has("local") || statement.has("param")) continue;
    least = std::min(least, type_bytes(statement.parts.back()));
  }
  return static_cast<u8>(least);
}

/// Do the blocks of this kernel communicate through global memory?
bool communicates(const Statement& statement) {
  if (statement.has("shared") || statement.has("shared::cta") || statement.has("local")) return false;
  if (statement.is("atom") || statement.is("red")) return true;
  return statement.is("ld") &&
         (statement.has("volatile") || statement.has("acquire") || statement.has("relaxed"));
}

bool is_partial_barrier(const Statement& statement) {
  if (statement.is("mbarrier")) return true;
  if (!statement.is("bar") && !statement.is("barrier")) return false;
  if (statement.has("warp") || statement.has("cluster")) return false;
  if (statement.has("arrive")) return true;
  return statement.operands.size() > (statement.has("red") ? 3u : 1u);
}

}  // namespace

Decoder::Decoder(const Module& module, const Function& kernel, const Program& program, KernelImage& image)
    : module_(module),
      kernel_(kernel),
      calls_(module, program.variables, kernel),
      program_(program),
      image_(image) {}

const Decoder::LinkedFunction* Decoder::find_function(std::string_view name) const {
  const auto found = linked_.find(name);
  return found == linked_.end() ? nullptr : &found->second;
}

void Decoder::place_shared() {
  u32& end = image_.static_shared_bytes;
  for (const Function* function : calls_.order()) {
    function_shared_[function] = align_up(end, 128);
    if (function->shared_bytes > 0) end = align_up(end, 128) + function->shared_bytes;
    visit_symbols(*function, [&](std::string_view name) {
      const auto found = module_.shared.find(name);
      if (found == module_.shared.end() || found->second.bytes == 0 || shared_offsets_.contains(name)) return;
      end = align_up(end, found->second.align);
      shared_offsets_[found->first] = end;
      end += found->second.bytes;
    });
  }
  for (const auto& [name, variable] : module_.shared) {
    if (variable.bytes == 0) shared_offsets_[name] = align_up(end, 16);
  }
}

void Decoder::place_frame(const Function& function) {
  LinkedFunction& linked = linked_[function.name];
  linked.function = &function;
  // A frame above the limit is never launched (k_max_local_bytes); it only must not wrap around here.
  auto claim = [&](u32 bytes, u32 align) {
    const u32 begin = align_up(image_.local_bytes, std::clamp<u32>(align, 4, 1024));
    image_.local_bytes = static_cast<u32>(std::min<u64>(u64{begin} + bytes, 2 * k_max_local_bytes));
    return begin;
  };
  linked.frame = claim(function.local_bytes, 16);
  linked.end = image_.local_bytes;
  linked.is_recursive = calls_.is_recursive(function);
  if (linked.is_recursive)
    image_.largest_frame_bytes = std::max(image_.largest_frame_bytes, align_up(function.local_bytes, 16));
  if (function.is_kernel) return;
  auto place = [&](const std::vector<FormalParameter>& formals, std::vector<u32>& offsets) {
    for (const FormalParameter& formal : formals) offsets.push_back(claim(formal.bytes, formal.align));
  };
  place(function.parameters, linked.parameter_offsets);
  place(function.results, linked.result_offsets);
  linked.end = image_.local_bytes;
}

void Decoder::place_registers() {
  image_.predicate_offset = predicates_ = static_cast<u32>(Special::count_) * k_special_stride;
  u32 predicate_end = predicates_ + k_fixed_predicates_bytes;
  for (const Function* function : calls_.order()) predicate_end += 4 * predicate_count(*function);
  u32 end = scratch_ = align_up(predicate_end, 128);
  end += 16 * k_lanes;
  u32 predicate_begin = predicates_ + k_fixed_predicates_bytes;
  for (const Function* function : calls_.order()) {
    RegisterSlots slots = allocate_registers(*function, predicate_begin, end);
    predicate_begin += 4 * predicate_count(*function);
    end = align_up(slots.end, 128);
    slots_.emplace(function, std::move(slots));
  }
  image_.constant_offset = end;
}

void Decoder::link() {
  image_.parameter_bytes = kernel_.parameter_bytes;
  image_.max_threads = kernel_.max_threads;
  place_shared();
  place_registers();
  u32 entry = 0;
  for (const Function* function : calls_.order()) {
    image_.shared_granule = std::min(image_.shared_granule, shared_granule(*function));
    for (const Statement& statement : function->statements) {
      image_.needs_order |= communicates(statement);
      image_.has_partial_barriers |= is_partial_barrier(statement);
    }
    place_frame(*function);
    linked_[function->name].entry = entry;
    entry += static_cast<u32>(function->statements.size()) + 1;
  }
  image_.stack_offset = image_.local_bytes = align_up(image_.local_bytes, 16);
  if (image_.largest_frame_bytes > 0) image_.local_bytes += k_stack_bytes;
  for (const Function* function : calls_.order()) decode_function(*function);
  image_.arena_bytes = align_up(image_.constant_offset + static_cast<u32>(image_.constants.size()), 128);
}

bool Decoder::is_on_stack(const Operand& symbol) const {
  return symbol.local >= 0 && function_->locals[static_cast<u32>(symbol.local)].space == Space::local &&
         linked_.at(function_->name).is_recursive;
}

/// The layout is visit_saved's (calls.cpp).
u32 Decoder::add_saved_list(LinkedFunction& linked) {
  if (linked.saved_list != 0) return linked.saved_list;
  const RegisterSlots& slots = slots_.at(linked.function);
  std::map<u32, u32> registers;  // several virtual registers share a slot
  std::vector<u32> predicates;
  for (std::size_t reg = 0; reg < linked.function->registers.size(); ++reg) {
    const VirtualRegister& kind = linked.function->registers[reg];
    if (kind.is_predicate)
      predicates.push_back(slots.offsets[reg]);
    else if (slots.offsets[reg] < slots.end)
      registers.emplace(slots.offsets[reg], kind.width);
  }
  std::vector<u32> list = {static_cast<u32>(registers.size())};
  for (const auto& [offset, width] : registers) list.insert(list.end(), {offset, width});
  list.push_back(static_cast<u32>(predicates.size()));
  list.insert(list.end(), predicates.begin(), predicates.end());
  list.insert(list.end(), {linked.frame, linked.end});
  return linked.saved_list = add_list(list) + 1;
}

void Decoder::place_caller(const Function& callee, Instruction& i) {
  LinkedFunction& caller = linked_.at(function_->name);
  if (!caller.is_recursive) return;
  i.b = align_up(function_->local_bytes, 16);
  if (&callee == function_ || calls_.can_reach(callee, *function_)) i.c = add_saved_list(caller);
}

void Decoder::decode_function(const Function& function) {
  function_ = &function;
  LinkedFunction& linked = linked_[function.name];
  frame_ = linked.frame;
  function_begin_ = linked.entry;
  if (function.is_kernel) image_.entry = function_begin_;
  for (const Statement& statement : function.statements) decode_statement(statement);
  Instruction end;
  end.flow = function.is_kernel ? Flow::exit : Flow::ret;
  end.op_class = OpClass::control;
  end.guard = predicates_;
  image_.code.push_back(end);
  image_.texts.push_back("ret");
}

bool Decoder::find_parameter(const Operand& memory, ParameterPlace& place) const {
  auto search = [&](const std::vector<FormalParameter>& formals, const std::vector<u32>* offsets) {
    for (std::size_t k = 0; k < formals.size(); ++k) {
      if (formals[k].name != memory.name) continue;
      place.is_local = offsets != nullptr;
      place.offset = offsets != nullptr ? (*offsets)[k] : formals[k].offset;
      return true;
    }
    return false;
  };
  const LinkedFunction& linked = linked_.at(function_->name);
  if (function_->is_kernel) return search(function_->parameters, nullptr);
  return search(function_->parameters, &linked.parameter_offsets) ||
         search(function_->results, &linked.result_offsets);
}

u32 Decoder::local_offset(int local) const {
  return frame_ + function_->locals[static_cast<u32>(local)].offset;
}

}  // namespace kernelites::worker::vgpu
