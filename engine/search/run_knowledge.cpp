// SPDX-License-Identifier: Apache-2.0
// A run and its knowledge file: read once when the run begins, joined when it ends.
#include "engine/search/run_knowledge.h"

#include "archive/knowledge.h"
#include "engine/search/lesson_book.h"

namespace kernelites {

std::size_t import_knowledge(Archive& archive, const std::filesystem::path& file) {
  if (archive.next_ordinal() > 1) return 0;
  const EffectSet known =
      std::filesystem::exists(file) ? Knowledge::open_read_only(file).read() : EffectSet();
  archive.record_imported_effects(known);
  return known.effects.size();
}

EffectSet run_effects(const Archive& archive, const Task& task, double effect_min) {
  RunEffects effects(archive, task, effect_min, true);
  effects.read(archive.imported_effects());
  return effects.set();
}

std::size_t export_knowledge(const Archive& archive, const Task& task, double effect_min,
                             const std::filesystem::path& file) {
  const EffectSet own = run_effects(archive, task, effect_min);
  return Knowledge::open(file).join(own);
}

}  // namespace kernelites
