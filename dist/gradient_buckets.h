// Which gradient lies where in which flat buffer: the layout behind GradientReducer, for its own sources.
#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "dist/gradient_reducer.h"

namespace decant::dist {

/// One parameter and where its gradient lives.
struct GradientSlot {
  torch::Tensor parameter;
  std::size_t bucket = 0;
  std::int64_t offset = 0;  // elements into the flat buffer
  const void* address = nullptr;
};

/// Parameters are put into buckets in reverse order of registration, as gradients become ready; each one's .grad is an
/// alias into its bucket's flat buffer. A bucket is of one dtype.
class GradientBuckets {
 public:
  /// Parameters that need no gradient are passed over. Throws CommError when one is on another device.
  GradientBuckets(const std::vector<torch::Tensor>& parameters, torch::Device device, const ReducerOptions& options);
  [[nodiscard]] const std::vector<GradientSlot>& slots() const { return slots_; }
  /// [elements] each, every gradient on a cache line of its own, zeros between them.
  [[nodiscard]] const std::vector<torch::Tensor>& flats() const { return flats_; }
  /// Parameters in each bucket.
  [[nodiscard]] const std::vector<std::size_t>& counts() const { return counts_; }
  /// dtypes and shapes in order, to be compared between ranks.
  [[nodiscard]] std::string signature() const;
  /// Throws std::logic_error when a parameter's .grad is no longer the alias.
  static void require_alias(const GradientSlot& slot, const torch::Tensor& flat);
  void require_aliases() const;

 private:
  std::vector<GradientSlot> slots_;
  std::vector<torch::Tensor> flats_;
  std::vector<std::size_t> counts_;
};

}  // namespace decant::dist
