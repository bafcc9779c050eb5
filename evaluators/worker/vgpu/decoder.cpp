// SPDX-License-Identifier: Apache-2.0
// Operand placement and statement decoding; linking is in linker.cpp.
#include "evaluators/worker/vgpu/decoder.h"

#include <algorithm>
#include <string>

#include <fmt/core.h>

#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/memory.h"
#include "evaluators/worker/vgpu/program.h"
#include "evaluators/worker/vgpu/special.h"
#include "evaluators/worker/vgpu/warp.h"

namespace kernelites::worker::vgpu {
namespace {

// Of the list of what a kernel has that cannot be executed.
constexpr std::size_t k_max_unsupported = 32, k_max_opcode_text = 100;

/// Why an opcode is not executed, where that is not just work that has not been done: "" or ": ...".
std::string_view why_not(std::string_view opcode) {
  struct Reason {
    std::string_view part, words;
  };
  static constexpr std::string_view k_newer = ": GPUs from sm_100 on have it, an H100 has not";
  static constexpr Reason k_reasons[] = {
      {"tile::gather4", k_newer},
      {"tile::scatter4", k_newer},
      {"tcgen05", k_newer},
      {"clusterlaunchcontrol", k_newer},
      {"im2col", ": the tensor maps of a plan are tiled, so that no copy can be one of an image's columns"},
  };
  for (const Reason& reason : k_reasons)
    if (opcode.find(reason.part) != opcode.npos) return reason.words;
  return "";
}

void unsupported_handler(Warp& warp, const Instruction& i, Mask mask) {
  const KernelImage& image = *warp.context->image;
  const std::string_view text = image.texts[static_cast<std::size_t>(&i - image.code.data())];
  std::size_t begin = text.find_first_not_of(" \t\n", text.starts_with('@') ? text.find_first_of(" \t") : 0);
  if (begin == std::string_view::npos) begin = 0;
  const std::string_view opcode = text.substr(begin, text.find_first_of(" \t\n;", begin) - begin);
  raise(FaultKind::unsupported_instruction, lowest_lane(mask),
        fmt::format("vgpu cannot execute {}{}", opcode.substr(0, k_max_opcode_text), why_not(opcode)));
}

}  // namespace

PtxType type_of(std::string_view part) {
  using Kind = PtxType::Kind;
  if (part == "pred") return {Kind::predicate, 4};
  if (part == "f16x2") return {Kind::f16x2, 4};
  if (part == "bf16x2") return {Kind::bf16x2, 4};
  if (part == "bf16") return {Kind::bf, 2};
  if (part == "f16" || part == "f32" || part == "f64") return {Kind::f, type_bytes(part)};
  const bool is_integer = part.size() >= 2 && part.size() <= 4 && part[1] >= '0' && part[1] <= '9' &&
                          part.find('x') == std::string_view::npos;
  if (!is_integer) return {Kind::other, type_bytes(part)};
  if (part[0] == 'u') return {Kind::unsigned_, type_bytes(part)};
  if (part[0] == 's') return {Kind::signed_, type_bytes(part)};
  return {part[0] == 'b' ? Kind::bits : Kind::other, type_bytes(part)};
}

u32 Decoder::destination(const Operand& operand, u32 width) const {
  if (operand.kind == Operand::Kind::sink) return scratch_;
  if (operand.kind != Operand::Kind::reg || register_width(operand, 0) != width) throw Undecodable{};
  return slots_.at(function_).offsets[static_cast<u32>(operand.reg)];
}

u32 Decoder::source(const Operand& operand, u32 width) {
  switch (operand.kind) {
    case Operand::Kind::reg:
      if (register_width(operand, 0) != width || operand.is_negated) throw Undecodable{};
      return slots_.at(function_).offsets[static_cast<u32>(operand.reg)];
    case Operand::Kind::immediate:
      if (operand.is_double && width == 4) {
        return constant(bits_as<u32>(static_cast<float>(bits_as<double>(operand.immediate))), 4);
      }
      return constant(operand.immediate, width);
    case Operand::Kind::symbol:
      return constant(symbol_address(operand), width);
    case Operand::Kind::special: {
      const auto special = find_special(operand.name);
      if (!special || width != 4) throw Undecodable{};
      return static_cast<u32>(*special) * k_special_stride;
    }
    default:
      throw Undecodable{};
  }
}

u32 Decoder::predicate(const Operand& operand) const {
  if (operand.is_negated) throw Undecodable{};
  return negatable_predicate(operand);
}

u32 Decoder::negatable_predicate(const Operand& operand) const {
  if (operand.kind == Operand::Kind::sink || operand.kind == Operand::Kind::none) return scratch_predicate();
  if (operand.kind == Operand::Kind::immediate) return predicates_ + (operand.immediate != 0 ? 0 : 4);
  if (operand.kind != Operand::Kind::reg) throw Undecodable{};
  if (!function_->registers[static_cast<u32>(operand.reg)].is_predicate) throw Undecodable{};
  return slots_.at(function_).offsets[static_cast<u32>(operand.reg)];
}

u32 Decoder::predicate_destination(const Operand& operand) const {
  if (operand.kind == Operand::Kind::immediate)
    throw Undecodable{};  // the constant predicates stay what they are
  return predicate(operand);
}

u32 Decoder::second_predicate(const Operand& operand) const {
  if (operand.second < 0) return scratch_predicate();
  if (!function_->registers[static_cast<u32>(operand.second)].is_predicate) throw Undecodable{};
  return slots_.at(function_).offsets[static_cast<u32>(operand.second)];
}

u32 Decoder::constant(u64 bits, u32 width) {
  if (width < 8) bits &= (u64{1} << (8 * width)) - 1;
  const auto [found, is_new] = constants_.try_emplace({width, bits}, 0);
  if (!is_new) return found->second;
  std::vector<u8>& image = image_.constants;
  found->second = image_.constant_offset + static_cast<u32>(image.size());
  for (u32 lane = 0; lane < k_lanes; ++lane) {
    for (u32 byte = 0; byte < width; ++byte)
      image.push_back(byte < 8 ? static_cast<u8>(bits >> (8 * byte)) : 0);
  }
  return found->second;
}

bool Decoder::address(const Operand& memory, Instruction& i) {
  if (memory.kind != Operand::Kind::memory || !memory.elements.empty()) return false;
  if (memory.reg < 0) {
    u64 value = memory.immediate;
    if (!memory.name.empty())
      value += symbol_address(Operand{.local = memory.local, .name = memory.name, .elements = {}});
    i.a = constant(value, 8);
    i.offset = 0;
    return true;
  }
  const i64 offset = static_cast<i64>(memory.immediate);
  if (offset != static_cast<i32>(offset)) return false;
  i.offset = static_cast<i32>(offset);
  i.a = slots_.at(function_).offsets[static_cast<u32>(memory.reg)];
  const u32 width = register_width(Operand{.kind = Operand::Kind::reg, .reg = memory.reg, .elements = {}}, 0);
  if (width == 4) i.flags |= k_narrow_address;
  return width == 4 || width == 8;
}

u32 Decoder::add_list(const std::vector<u32>& offsets) {
  const u32 begin = static_cast<u32>(image_.lists.size());
  image_.lists.insert(image_.lists.end(), offsets.begin(), offsets.end());
  return begin;
}

void Decoder::sources(const Operand& operand, u32 width, Instruction& i) {
  std::vector<u32> offsets;
  if (operand.kind == Operand::Kind::vector) {
    for (const Operand& element : operand.elements) offsets.push_back(source(element, width));
  } else {
    offsets.push_back(source(operand, width));
  }
  i.count = static_cast<u8>(offsets.size());
  i.list = add_list(offsets);
}

void Decoder::destinations(const Operand& operand, u32 width, Instruction& i) {
  std::vector<u32> offsets;
  if (operand.kind == Operand::Kind::vector) {
    for (const Operand& element : operand.elements) offsets.push_back(destination(element, width));
  } else {
    offsets.push_back(destination(operand, width));
  }
  i.count = static_cast<u8>(offsets.size());
  i.list = add_list(offsets);
}

void Decoder::wait_for_members(const Operand& mask, Instruction& i) {
  i.flow = Flow::warp_sync;
  if (mask.kind == Operand::Kind::immediate) {
    i.members = static_cast<Mask>(mask.immediate);
    if (i.members != 0) return;
  }
  i.members = 0;
  i.target = source(mask, 4);
}

u32 Decoder::register_width(const Operand& operand, u32 fallback) const {
  if (operand.kind != Operand::Kind::reg) return fallback;
  const VirtualRegister& reg = function_->registers[static_cast<u32>(operand.reg)];
  return reg.is_predicate ? 0 : reg.width;
}

u64 Decoder::symbol_address(const Operand& symbol) const {
  if (symbol.local >= 0) {
    const LocalVariable& variable = function_->locals[static_cast<u32>(symbol.local)];
    if (variable.space == Space::shared)
      return function_shared_.at(function_) + variable.offset + symbol.immediate;
    if (is_on_stack(symbol)) throw Undecodable{};
    const u64 window = variable.space == Space::parameter ? k_local_slot << 32 : 0;
    return window + frame_ + variable.offset + symbol.immediate;
  }
  ParameterPlace place;
  if (find_parameter(symbol, place)) {
    return ((place.is_local ? k_local_slot : k_parameter_slot) << 32) + place.offset + symbol.immediate;
  }
  if (const auto found = shared_offsets_.find(symbol.name); found != shared_offsets_.end()) {
    return found->second + symbol.immediate;
  }
  const u64 address = program_.symbol_address(symbol.name);
  if (address == 0) throw Undecodable{};
  return address + symbol.immediate;
}

void Decoder::decode_statement(const Statement& statement) {
  Instruction i;
  i.line = static_cast<u32>(statement.line);
  i.guard = predicates_;
  const std::size_t lists = image_.lists.size();
  bool is_known = false;
  try {
    if (statement.guard >= 0) {
      i.guard = predicate(Operand{.kind = Operand::Kind::reg, .reg = statement.guard, .elements = {}});
      i.guard_flip = statement.is_guard_negated ? k_all_lanes : 0;
    }
    const auto [found, is_new] = rows_.try_emplace(statement.opcode, nullptr);
    if (is_new) found->second = find_row(statement);
    const InstructionRow* row = found->second;
    is_known = row != nullptr && row->decode(*this, statement, i);
  } catch (const Undecodable&) {
    is_known = false;
  }
  if (!is_known || (i.flow == Flow::plain && i.handler == nullptr)) {
    image_.lists.resize(lists);
    i.handler = unsupported_handler;
    i.flow = Flow::plain;
    i.op_class = OpClass::control;
    const std::string opcode(statement.opcode);
    auto& known = image_.unsupported;
    const bool is_listed = std::find(known.begin(), known.end(), opcode) != known.end();
    if (!is_listed && known.size() < k_max_unsupported) known.push_back(opcode.substr(0, k_max_opcode_text));
  }
  image_.code.push_back(i);
  image_.texts.push_back(statement.text);
}

}  // namespace kernelites::worker::vgpu
