// Raw CPU kernels over packed sequences: keyed dropout and causal attention. No torch here: pointers to contiguous
// memory, and scratch from the caller. Built once for each Isa; results of one Isa do not depend on threads.
#pragma once

#include <cstdint>

#include "models/ops/isa.h"

namespace decant::models {

/// Keep where hash >= threshold, times keep_scale; threshold 0 keeps all.
struct KeyedDrop {
  std::uint32_t site_key = 0;  // mix32(site)
  std::uint32_t threshold = 0;
  float keep_scale = 1;
};

/// Element [t, c] hashes mix32(mix32(token_keys[t] ^ site_key) + c * 0x9e3779b9).
struct DropoutArgs {
  const float* x;                  // [tokens, dim]
  float* out;                      // [tokens, dim]
  const std::int64_t* token_keys;  // [tokens]
  std::int64_t dim;
  KeyedDrop drop;
};

/// Pair p of [0, sequences * heads) is sequence p / heads, head p % heads. The probability of token i for j hashes
/// mix32(mix32(mix32(token_keys[i] ^ site_key) + head * 0x9e3779b9) + j * 0x9e3779b9), j from the sequence's start.
struct AttentionArgs {
  const float* qkv;                // [tokens, 3 * heads * head_dim]
  const std::int64_t* offsets;     // [sequences + 1]
  const std::int64_t* token_keys;  // [tokens]; null: no dropout
  std::int64_t heads;
  std::int64_t head_dim;
  KeyedDrop drop;
  float* out;    // [tokens, heads * head_dim]; read by the backward pass
  float* stats;  // [tokens, heads, 2]: the row's maximum and 1 / sum in base 2; null in a forward pass: not wanted
};

struct AttentionGradArgs {
  AttentionArgs forward;
  const float* out_grad;  // [tokens, heads * head_dim]
  float* qkv_grad;        // [tokens, 3 * heads * head_dim], written whole
};

struct SequenceKernels {
  /// Rows [begin, end).
  void (*dropout)(const DropoutArgs& args, std::int64_t begin, std::int64_t end);
  /// Pairs [begin, end). `scratch`: attention_scratch() floats, aligned to 64 bytes.
  void (*attention_forward)(const AttentionArgs& args, std::int64_t begin, std::int64_t end, float* scratch);
  void (*attention_backward)(const AttentionGradArgs& args, std::int64_t begin, std::int64_t end, float* scratch);
};

/// The kernels of one Isa. REQUIRES: the machine has it.
[[nodiscard]] const SequenceKernels& sequence_kernels(Isa isa = best_isa());

/// Floats of scratch that either attention kernel needs for sequences of up to `longest` tokens.
[[nodiscard]] std::int64_t attention_scratch(std::int64_t longest, std::int64_t head_dim);

}  // namespace decant::models
