// Labels whose every value follows from (row, position), so that a reader's mistake shows.
#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include "data/label_store.h"
#include "tests/data/support.h"

namespace decant::data::testing_support {

inline LabelSpec spec_of(const Dataset& dataset, std::int64_t max_length, std::int64_t k,
                         const std::string& key = "key-1") {
  LabelSpec spec;
  spec.key = key;
  spec.teacher_hash = "0123456789abcdef";
  spec.catalogue_hash = dataset.info().catalogue_hash;
  spec.content_hash = dataset.info().content_hash;
  spec.max_length = max_length;
  spec.k = k;
  spec.items = dataset.info().items;
  spec.rows = dataset.info().rows;
  spec.temperatures = {1, 1.5, 2};
  return spec;
}

inline void add_label(TopKLabels& labels, std::int64_t items, std::int64_t row, std::int64_t position) {
  const std::int64_t mark = row * 101 + position;
  for (std::int64_t i = 0; i < labels.k; ++i) {
    labels.ids.push_back((mark * 7 + i) % items);
    labels.logits_half.push_back(static_cast<std::uint16_t>(0x8000 + (mark + i) % 0x7000));
  }
  labels.peak.push_back(static_cast<float>(mark) * 0.25F);
  labels.rest_lse.push_back(static_cast<float>(mark) * -0.5F);
  labels.rest_lse.push_back(static_cast<float>(position));
  labels.rest_lse.push_back(mark % 5 == 0 ? -std::numeric_limits<float>::infinity() : 1.0F);
  labels.target_logit.push_back(static_cast<float>(mark) * 0.125F);
  labels.target_rank.push_back(static_cast<float>(mark % 17) + 0.5F);
}

/// The labels that rows [first, last) have.
inline TopKLabels labels_of(const Dataset& dataset, const LabelSpec& spec, std::int64_t first, std::int64_t last) {
  TopKLabels labels;
  labels.k = spec.k;
  labels.temperatures = spec.temperatures;
  for (std::int64_t row = first; row < last; ++row)
    for (std::int64_t i = 0; i < dataset.training_targets(row, spec.max_length); ++i)
      add_label(labels, spec.items, row, i);
  return labels;
}

/// The labels that a batch must get.
inline TopKLabels labels_of(const LabelSpec& spec, const PackedBatch& batch) {
  TopKLabels labels;
  labels.k = spec.k;
  labels.temperatures = spec.temperatures;
  for (std::size_t s = 0; s < batch.sample_ids.size(); ++s)
    for (std::int64_t token = batch.offsets[s]; token < batch.offsets[s + 1]; ++token)
      add_label(labels, spec.items, batch.sample_ids[s], token - batch.offsets[s]);
  return labels;
}

inline bool equal(const TopKLabels& a, const TopKLabels& b) {
  return a.k == b.k && a.temperatures == b.temperatures && a.ids == b.ids && a.logits_half == b.logits_half &&
         a.peak == b.peak && a.rest_lse == b.rest_lse && a.target_logit == b.target_logit &&
         a.target_rank == b.target_rank;
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
