// Options of the student's steps beyond losses: augmented views, perturbed embeddings, balanced losses, screened labels.
#pragma once

#include <cstdint>
#include <string>

#include "base/options.h"

namespace decant::trainer {

/// Views of a row, after CL4SRec (Xie et al. 2022). One of those with a share above 0 is drawn for a row.
struct AugmentOptions : base::Options {
  double rate = 0;       // of rows that are augmented in a step; 0: none
  double crop = 0.6;     // share of the events that a crop keeps
  double mask = 0.3;     // share of the events that are taken out
  double reorder = 0.2;  // share of the events, in one piece, that are shuffled
  [[nodiscard]] bool on() const { return rate > 0; }
  void describe(base::Fields& fields) override;
};

/// A second pass over looked-up item vectors that are moved against the student (He et al. 2018).
struct PerturbationOptions : base::Options {
  double epsilon = 0;  // length of the shift of a sequence's vectors; 0: no second pass
  double weight = 1;   // of the losses of the second pass
  [[nodiscard]] bool on() const { return epsilon > 0; }
  void describe(base::Fields& fields) override;
};

/// Losses scaled to gradients of one length (balance.h).
struct BalanceOptions : base::Options {
  std::string kind = "none";  // none | gradient_norm
  std::string reference = "ce";
  std::int64_t every = 100;  // steps
  double smoothing = 0.5;
  [[nodiscard]] bool on() const { return kind != "none"; }
  void describe(base::Fields& fields) override;
};

/// Labels that are not to be trusted, by what the teacher says of the observed item.
struct ScreeningOptions : base::Options {
  double least_probability = 0;  // below it, a label contradicts the data; 0: not looked at
  std::int64_t most_rank = 0;    // the observed item must be among so many best; 0: not looked at
  double most_probability = 1;   // above it, a label is over-confident; 1: not looked at
  double keep = 0;               // factor of what such a label weighs; 0: dropped
  [[nodiscard]] bool by_probability() const { return least_probability > 0 || most_probability < 1; }
  [[nodiscard]] bool on() const { return by_probability() || most_rank > 0; }
  void describe(base::Fields& fields) override;
};

}  // namespace decant::trainer
