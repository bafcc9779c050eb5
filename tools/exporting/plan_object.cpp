// SPDX-License-Identifier: Apache-2.0
// Reads sections and symbols of an object file.
#include "tools/exporting/plan_object.h"

#include <elf.h>
#include <fmt/format.h>

#include <cstring>
#include <set>
#include <vector>

namespace kernelites {
namespace {

/// What the encoder and the formulas around a plan become, and what compilers add by themselves.
const std::set<std::string_view> k_outside{"memcpy",
                                           "memmove",
                                           "memset",
                                           "memcmp",
                                           "strlen",
                                           "floor",
                                           "ceil",
                                           "sqrt",
                                           "exp",
                                           "log",
                                           "_GLOBAL_OFFSET_TABLE_",
                                           "__stack_chk_fail"};

/// A record at a place of the file. False if the file ends before it.
template <typename Record>
bool read_at(std::string_view object, std::uint64_t at, Record& record) {
  if (at > object.size() || object.size() - at < sizeof record) return false;
  std::memcpy(&record, object.data() + at, sizeof record);
  return true;
}

std::string_view bytes_of(std::string_view object, const Elf64_Shdr& section) {
  if (section.sh_type == SHT_NOBITS || section.sh_offset > object.size() ||
      section.sh_size > object.size() - section.sh_offset)
    return {};
  return object.substr(section.sh_offset, section.sh_size);
}

std::string_view text_at(std::string_view strings, std::size_t at) {
  if (at >= strings.size()) return {};
  const std::string_view rest = strings.substr(at);
  return rest.substr(0, rest.find('\0'));
}

std::string section_trouble(const Elf64_Shdr& section, std::string_view name) {
  if (section.sh_size == 0) return "";
  const bool runs = section.sh_type == SHT_INIT_ARRAY || section.sh_type == SHT_FINI_ARRAY ||
                    section.sh_type == SHT_PREINIT_ARRAY;
  for (const std::string_view start : {".init", ".fini", ".preinit", ".ctors", ".dtors"})
    if (runs || name.starts_with(start)) return "it has code that runs when a program is loaded or ends";
  const bool is_variable = (section.sh_flags & SHF_WRITE) != 0 && (section.sh_flags & SHF_ALLOC) != 0 &&
                           !name.starts_with(".data.rel.ro");
  return is_variable ? "it has variables" : "";
}

std::string symbol_trouble(const Elf64_Sym& symbol, std::string_view symbol_name, std::string_view name) {
  const unsigned binding = ELF64_ST_BIND(symbol.st_info), type = ELF64_ST_TYPE(symbol.st_info);
  if (type == STT_GNU_IFUNC || type == STT_TLS) return "it has a symbol that a loader works out";
  if (binding == STB_LOCAL) return "";
  if (symbol.st_shndx == SHN_UNDEF)
    return k_outside.contains(symbol_name) ? "" : fmt::format("it calls \"{:.80}\"", symbol_name);
  const bool is_own = symbol_name.find(name) != std::string_view::npos;
  if (binding == STB_GLOBAL && !is_own) return fmt::format("it defines \"{:.80}\"", symbol_name);
  // A C name would take the place of the program's own function.
  return symbol_name.starts_with("_Z") || symbol_name.starts_with("DW.ref.")
             ? ""
             : fmt::format("it defines \"{:.80}\"", symbol_name);
}

}  // namespace

std::string object_trouble(std::string_view object, std::string_view name) {
  constexpr const char* k_unclear = "its object file cannot be read";
  Elf64_Ehdr head;
  if (!read_at(object, 0, head) || std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 ||
      head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_type != ET_REL || head.e_shnum == 0 ||
      head.e_shentsize != sizeof(Elf64_Shdr))
    return k_unclear;
  std::vector<Elf64_Shdr> sections(head.e_shnum);
  for (std::size_t i = 0; i < sections.size(); ++i)
    if (!read_at(object, head.e_shoff + i * sizeof(Elf64_Shdr), sections[i])) return k_unclear;
  if (head.e_shstrndx >= sections.size()) return k_unclear;
  const std::string_view names = bytes_of(object, sections[head.e_shstrndx]);
  bool has_symbols = false;
  for (const Elf64_Shdr& section : sections) {
    if (std::string trouble = section_trouble(section, text_at(names, section.sh_name)); !trouble.empty())
      return trouble;
    if (section.sh_type != SHT_SYMTAB) continue;
    if (section.sh_link >= sections.size()) return k_unclear;
    has_symbols = true;
    const std::string_view strings = bytes_of(object, sections[section.sh_link]);
    for (std::uint64_t i = 1; i < section.sh_size / sizeof(Elf64_Sym); ++i) {
      Elf64_Sym symbol;
      if (!read_at(object, section.sh_offset + i * sizeof symbol, symbol)) return k_unclear;
      if (std::string trouble = symbol_trouble(symbol, text_at(strings, symbol.st_name), name);
          !trouble.empty())
        return trouble;
    }
  }
  return has_symbols ? "" : k_unclear;
}

}  // namespace kernelites
