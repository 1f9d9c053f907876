// Labels whose every value follows from (row, position), so that a reader's mistake shows.
#pragma once

#include <cmath>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "data/label_store.h"
#include "tests/data/support.h"

namespace decant::data::testing_support {

/// Columns as the top-k kind has them, in every type.
inline LabelSpec spec_of(const Dataset& dataset, std::int64_t max_length, std::int64_t k,
                         const std::string& key = "key-1") {
  LabelSpec spec;
  spec.key = key;
  spec.recipe = "recipe";
  spec.teacher = "teacher";
  spec.teacher_hash = "0123456789abcdef";
  spec.catalogue_hash = dataset.info().catalogue_hash;
  spec.content_hash = dataset.info().content_hash;
  spec.max_length = max_length;
  spec.items = dataset.info().items;
  spec.rows = dataset.info().rows;
  spec.options = {{"k", k}};
  spec.columns = {{"ids", Element::kU32, k},
                  {"logits", Element::kF16, k},
                  {"peak", Element::kF32, 1},
                  {"rest_lse", Element::kF32, 3},
                  {"brain", Element::kBf16, 2}};
  return spec;
}

/// Column by column what the target at (row, position) has.
inline void add_label(LabelRows& labels, std::int64_t row, std::int64_t position) {
  const std::int64_t mark = row * 101 + position, k = labels.spec->columns[0].width;
  const auto add = [&](std::size_t column, auto value) {
    const auto bytes = std::as_bytes(std::span(&value, 1));
    labels.columns[column].insert(labels.columns[column].end(), bytes.begin(), bytes.end());
  };
  for (std::int64_t i = 0; i < k; ++i) {
    add(0, static_cast<std::uint32_t>((mark * 7 + i) % labels.spec->items));
    add(1, static_cast<std::uint16_t>(0x8000 + (mark + i) % 0x7000));
  }
  add(2, static_cast<float>(mark) * 0.25F);
  add(3, static_cast<float>(mark) * -0.5F);
  add(3, static_cast<float>(position));
  add(3, mark % 5 == 0 ? -std::numeric_limits<float>::infinity() : 1.0F);
  add(4, static_cast<std::uint16_t>(mark % 0x7f80));
  add(4, static_cast<std::uint16_t>(position));
  ++labels.targets;
}

/// The labels that rows [first, last) have.
inline LabelRows labels_of(const Dataset& dataset, const LabelSpec& spec, std::int64_t first, std::int64_t last) {
  LabelRows labels(std::make_shared<const LabelSpec>(spec));
  for (std::int64_t row = first; row < last; ++row)
    for (std::int64_t i = 0; i < dataset.training_targets(row, spec.max_length); ++i) add_label(labels, row, i);
  return labels;
}

/// The labels that a batch must get.
inline LabelRows labels_of(const LabelSpec& spec, const PackedBatch& batch) {
  LabelRows labels(std::make_shared<const LabelSpec>(spec));
  for (std::size_t s = 0; s < batch.sample_ids.size(); ++s)
    for (std::int64_t token = batch.offsets[s]; token < batch.offsets[s + 1]; ++token)
      add_label(labels, batch.sample_ids[s], token - batch.offsets[s]);
  return labels;
}

inline bool equal(const LabelRows& a, const LabelRows& b) {
  return a.spec->columns == b.spec->columns && a.targets == b.targets && a.columns == b.columns &&
         a.present == b.present;
}

inline void write_labels(const LabelWriter& writer, const Dataset& dataset, const LabelSpec& spec) {
  writer.prepare();
  for (std::int64_t part = 0; part < writer.parts(); ++part) {
    const auto [first, last] = writer.part_rows(part);
    writer.write_part(part, labels_of(dataset, spec, first, last));
  }
  writer.finish();
}

}  // namespace decant::data::testing_support
