// What the loader hands to a task: sequences laid end to end, nothing padded. Plain vectors: data knows no torch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace decant::data {

/// This process's part of the work: rank and world, as values.
struct Shard {
  int index = 0;
  int count = 1;
};

/// A column of a value, or `width` codes, a token, named as in the dataset ("items", "user.age").
struct RaggedColumn {
  std::string name;
  std::vector<std::int64_t> values;  // [tokens * width]; empty for numbers
  std::int64_t width = 1;
  std::vector<float> numbers = {};  // [tokens]; empty for codes
};

/// `sequences` windows packed into `tokens`. All index vectors are int64, ready to be viewed as tensors.
struct PackedBatch {
  std::vector<std::int64_t> sample_ids;     // [sequences] row in the dataset
  std::vector<std::int64_t> offsets;        // [sequences + 1] tokens of window s: [offsets[s], offsets[s+1])
  std::vector<std::int64_t> window_starts;  // [sequences] events of the full history before the window
  std::vector<RaggedColumn> columns;        // inputs
  std::vector<std::int64_t> target_tokens;  // [targets] the token whose state predicts the target, ascending
  std::vector<std::int64_t> target_ids;     // [targets] item
  std::vector<float> target_weights;        // [targets]
  // Evaluation only: the items of the history (distinct, ascending), ragged over targets; empty in training.
  std::vector<std::int64_t> seen_offsets;  // [targets + 1] or empty
  std::vector<std::int64_t> seen_ids;

  [[nodiscard]] std::int64_t sequences() const { return static_cast<std::int64_t>(sample_ids.size()); }
  [[nodiscard]] std::int64_t tokens() const { return offsets.empty() ? 0 : offsets.back(); }
  [[nodiscard]] std::int64_t targets() const { return static_cast<std::int64_t>(target_ids.size()); }
  /// Throws DataError naming the column when there is none of that name.
  [[nodiscard]] const RaggedColumn& column(const std::string& name) const;
  [[nodiscard]] RaggedColumn& column(const std::string& name);
};

}  // namespace decant::data
