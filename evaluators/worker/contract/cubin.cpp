// SPDX-License-Identifier: Apache-2.0
// Reader of cubin files.
#include "evaluators/worker/contract/cubin.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <string_view>

namespace kernelites::worker {
namespace {

/// Attributes of .nv.info records.
enum Attribute : std::uint8_t {
  k_attribute_max_threads = 0x05,
  k_attribute_frame_size = 0x11,
  k_attribute_reqntid = 0x10,
  k_attribute_kparam_info = 0x17,
  k_attribute_regcount = 0x2f,
};
constexpr std::uint8_t k_format_sized = 4;  // EIFMT_SVAL: a 16-bit size and that many bytes
constexpr std::size_t k_sections_max = 16384;

struct Section {
  std::string name;
  Elf64_Shdr header{};
  std::string_view bytes;  ///< empty for NOBITS
};

template <typename T>
std::optional<T> value_at(std::string_view bytes, std::size_t offset) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

std::string text_at(std::string_view table, std::size_t offset) {
  if (offset >= table.size()) return "";
  const auto end = table.find('\0', offset);
  return std::string(table.substr(offset, (end == std::string_view::npos ? table.size() : end) - offset));
}

std::optional<std::vector<Section>> read_sections(std::string_view file) {
  const auto header = value_at<Elf64_Ehdr>(file, 0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return std::nullopt;
  if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_shnum > k_sections_max) return std::nullopt;
  if (header->e_shentsize != sizeof(Elf64_Shdr)) return std::nullopt;
  std::vector<Section> sections(header->e_shnum);
  std::size_t total = 0;
  for (std::size_t i = 0; i < sections.size(); ++i) {
    const auto entry = value_at<Elf64_Shdr>(file, header->e_shoff + i * sizeof(Elf64_Shdr));
    if (!entry) return std::nullopt;
    sections[i].header = *entry;
    if (entry->sh_type == SHT_NOBITS) continue;
    if (entry->sh_offset > file.size() || entry->sh_size > file.size() - entry->sh_offset)
      return std::nullopt;
    sections[i].bytes = file.substr(entry->sh_offset, entry->sh_size);
    // No tool writes sections that share bytes; a thousand of them would make a small file a large one here.
    total += sections[i].bytes.size();
    if (total > file.size()) return std::nullopt;
  }
  if (header->e_shstrndx >= sections.size()) return std::nullopt;
  const std::string_view names = sections[header->e_shstrndx].bytes;
  for (Section& section : sections) section.name = text_at(names, section.header.sh_name);
  return sections;
}

std::int64_t product_of_three(std::string_view payload) {
  std::int64_t product = 1;
  for (std::size_t i = 0; i < 3; ++i) {
    product *= std::clamp<std::int64_t>(value_at<std::uint32_t>(payload, 4 * i).value_or(1), 1, 65536);
  }
  return product;
}

/// One record of .nv.info.<kernel>.
void apply_kernel_record(std::uint8_t attribute, std::string_view payload, CubinKernel& kernel) {
  switch (attribute) {
    case k_attribute_max_threads:
      kernel.threads_max = static_cast<int>(product_of_three(payload));
      break;
    case k_attribute_reqntid:
      kernel.threads_required = static_cast<int>(product_of_three(payload));
      break;
    case k_attribute_kparam_info: {
      // Words: index, ordinal | offset << 16, flags with the size in bits 18 to 31.
      const auto place = value_at<std::uint32_t>(payload, 4), flags = value_at<std::uint32_t>(payload, 8);
      if (!place || !flags) break;
      const std::size_t ordinal = *place & 0xffff;
      if (ordinal >= 4096) break;
      if (kernel.parameter_bytes.size() <= ordinal) kernel.parameter_bytes.resize(ordinal + 1);
      kernel.parameter_bytes[ordinal] = *flags >> 18;
      break;
    }
    default:
      break;
  }
}

template <typename Visit>
void for_each_record(std::string_view records, const Visit& visit) {
  for (std::size_t at = 0; at + 4 <= records.size();) {
    const auto format = static_cast<std::uint8_t>(records[at]);
    const auto attribute = static_cast<std::uint8_t>(records[at + 1]);
    std::size_t size = 0;
    if (format == k_format_sized) size = value_at<std::uint16_t>(records, at + 2).value_or(0);
    visit(attribute, records.substr(at + 4, std::min(size, records.size() - at - 4)));
    at += 4 + size;
  }
}

struct Symbols {
  std::vector<std::string> names;
};

Symbols read_symbols(const std::vector<Section>& sections, Cubin& cubin) {
  Symbols symbols;
  for (const Section& section : sections) {
    if (section.header.sh_type != SHT_SYMTAB || section.header.sh_link >= sections.size()) continue;
    const std::string_view names = sections[section.header.sh_link].bytes;
    for (std::size_t at = 0; at + sizeof(Elf64_Sym) <= section.bytes.size(); at += sizeof(Elf64_Sym)) {
      const auto symbol = *value_at<Elf64_Sym>(section.bytes, at);
      symbols.names.push_back(text_at(names, symbol.st_name));
      const std::string& name = symbols.names.back();
      // Names of the tool chain's own (.nv.reservedSmem...) are no calls out of the module.
      if (symbol.st_shndx == SHN_UNDEF && !name.empty() && name[0] != '.')
        cubin.undefined_symbols.push_back(name);
      if (symbol.st_shndx < sections.size() && ELF64_ST_TYPE(symbol.st_info) != STT_SECTION &&
          sections[symbol.st_shndx].name.starts_with(".nv.global")) {
        constexpr std::uint64_t k_bytes_max = std::numeric_limits<std::int64_t>::max();
        cubin.variables.push_back({name, static_cast<std::int64_t>(std::min(symbol.st_size, k_bytes_max))});
      }
    }
  }
  return symbols;
}

/// No more than the largest number.
void add(std::int64_t& sum, std::int64_t more) {
  if (__builtin_add_overflow(sum, more, &sum)) sum = std::numeric_limits<std::int64_t>::max();
}

void apply_section(const Section& section, Cubin& cubin) {
  const auto size = static_cast<std::int64_t>(
      std::min<std::uint64_t>(section.header.sh_size, std::numeric_limits<std::int64_t>::max()));
  const std::string_view name = section.name;
  if (name == ".nv.global") {
    add(cubin.writable_bytes, size);
  } else if (name == ".nv.global.init") {
    add(cubin.initialised_bytes, size);
    cubin.constant_data.append(section.bytes);
  } else if (name.starts_with(".nv.constant") && !name.starts_with(".nv.constant0.")) {
    // Bank 3 holds __constant__ variables, banks 2 and 4 what the compiler puts there; bank 0 is the parameters.
    add(cubin.constant_bytes, size);
    if (name != ".nv.constant4")
      cubin.constant_data.append(section.bytes);  // addresses, which a loader fills in
  } else if (name.starts_with(".text.")) {
    CubinKernel& kernel = cubin.kernels[std::string(name.substr(6))];
    kernel.code_bytes = size;
    kernel.code = std::string(section.bytes);
  } else if (name.starts_with(".nv.shared.") && !name.starts_with(".nv.shared.reserved")) {
    cubin.kernels[std::string(name.substr(11))].static_shared_bytes = size;
  } else if (name.starts_with(".nv.info.")) {
    CubinKernel& kernel = cubin.kernels[std::string(name.substr(9))];
    for_each_record(section.bytes, [&](std::uint8_t attribute, std::string_view payload) {
      apply_kernel_record(attribute, payload, kernel);
    });
  }
}

/// Sections that a driver loads: code, parameters and constants, tables of addresses, shared and global memory.
bool is_known_section(const Section& section) {
  if ((section.header.sh_flags & SHF_ALLOC) == 0) return true;
  static constexpr std::string_view k_known[] = {".text.",     ".nv.constant",    ".nv.shared.",
                                                 ".nv.global", ".nv.global.init", ".nv.local.",
                                                 ".nv.uft",    ".nv.udt"};
  return std::any_of(std::begin(k_known), std::end(k_known), [&](std::string_view known) {
    return section.name == known ||
           ((known.ends_with('.') || known == ".nv.constant") && section.name.starts_with(known));
  });
}

}  // namespace

std::optional<Cubin> parse_cubin(std::span<const std::byte> bytes) {
  const std::string_view file(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto sections = read_sections(file);
  if (!sections) return std::nullopt;
  Cubin cubin;
  const Symbols symbols = read_symbols(*sections, cubin);
  for (const Section& section : *sections) {
    apply_section(section, cubin);
    if (cubin.unknown_section.empty() && !is_known_section(section)) cubin.unknown_section = section.name;
  }
  for (const Section& section : *sections) {
    if (section.name != ".nv.info") continue;
    // Module-wide records name their kernel by symbol index.
    for_each_record(section.bytes, [&](std::uint8_t attribute, std::string_view payload) {
      const auto symbol = value_at<std::uint32_t>(payload, 0), value = value_at<std::uint32_t>(payload, 4);
      if (!symbol || !value || *symbol >= symbols.names.size()) return;
      const auto kernel = cubin.kernels.find(symbols.names[*symbol]);
      if (kernel == cubin.kernels.end()) return;
      if (attribute == k_attribute_regcount) kernel->second.registers = static_cast<int>(*value);
      if (attribute == k_attribute_frame_size) kernel->second.frame_bytes = *value;
    });
  }
  return cubin;
}

}  // namespace kernelites::worker
