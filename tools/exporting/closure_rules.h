// SPDX-License-Identifier: Apache-2.0
// What a plan's text may not say where a user's compiler reads it: nothing but arithmetic on extents may come of it.
//
// Rules on sources (source_rules.h) are for a compiler of device code, which runs in a jail and whose output is judged.
// A host compiler knows more words: assembly, attributes that run at a program's start, names of the system. These
// rules refuse them in the closure; what they overlook shows in the object file (plan_object.h).
#pragma once

#include <string>
#include <string_view>

namespace kernelites {

/// Why the closure of `source` is not fit for a host compiler, in words; empty: it is. Conditions may ask for macros
/// that it defines and for the tunables of `source`, and for nothing that a compiler defines.
std::string closure_trouble(std::string_view closure, std::string_view source);

}  // namespace kernelites
