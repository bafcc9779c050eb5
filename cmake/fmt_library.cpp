// SPDX-License-Identifier: Apache-2.0
// What fmt 9 has besides its headers, as its own source does it, which the distribution does not install.
#include <fmt/format-inl.h>

FMT_BEGIN_NAMESPACE
namespace detail {

// Its header declares these two as instantiated elsewhere.
template FMT_API auto thousands_sep_impl(locale_ref) -> thousands_sep_result<char>;
template FMT_API auto decimal_point_impl(locale_ref) -> char;

}  // namespace detail
FMT_END_NAMESPACE
