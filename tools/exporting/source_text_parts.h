// SPDX-License-Identifier: Apache-2.0
// Parts of generated sources that several files of an export have: machine code and plans as tables of words.
#pragma once

#include <string>
#include <vector>

#include "tools/exporting/export_target.h"

namespace kernelites {

/// Texts of a run in places where they must not end a line or continue it: comments, a README, a package file.
std::string one_line(const std::string& text);
/// As a string of C or C++, whatever its bytes.
std::string c_literal(const std::string& text);
std::string upper_case(std::string text);
/// Whether launches write it.
bool is_written(const TensorSpec& tensor);

/// A shape formula as integer arithmetic of C++ or Python: cdiv, min, max and floor are functions of the text around
/// it. Throws Error for a formula that has more than that.
std::string integer_formula(const std::string& formula, bool is_python);

/// Bytes as 64-bit words, lowest byte first, padded with zeros; eight to a line.
std::string word_list(const std::string& bytes);
std::string word_list(const std::vector<std::uint64_t>& words);

/// `k_images_<label>` and `k_kernels_<label>` with the words that they point to.
std::string image_tables(const std::vector<LibraryImage>& images, const std::string& label);

/// `k_table_<label>`: one plan for each shape.
std::string plan_table(const std::vector<Shape>& shapes, const std::vector<std::vector<std::uint64_t>>& words,
                       const std::string& label);

/// The candidate's file under a header that says where it comes from, what its plan does and how to launch it.
std::string annotated_kernel(const ExportInputs& inputs, std::size_t arm);

}  // namespace kernelites
