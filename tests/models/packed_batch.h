// Random packed batches and the plain formulas that the packed kernels are compared with.
#pragma once

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "models/inputs.h"

namespace decant::models::test {

/// Small tensors are slower on several threads, far more so when the cores are shared.
class OneThread : public testing::Test {
 protected:
  OneThread() : before_(at::get_num_threads()) { at::set_num_threads(1); }
  ~OneThread() override { at::set_num_threads(before_); }

 private:
  int before_;
};

inline std::vector<std::int64_t> offsets_of(const std::vector<std::int64_t>& lengths) {
  std::vector<std::int64_t> offsets{0};
  for (const std::int64_t length : lengths) offsets.push_back(offsets.back() + length);
  return offsets;
}

inline torch::Tensor random_keys(std::int64_t tokens) {
  return torch::randint(std::int64_t{1} << 32, {tokens}, torch::kLong);
}

inline double difference(const torch::Tensor& a, const torch::Tensor& b) {
  return a.numel() == 0 ? 0 : (a - b).abs().max().item<double>();
}

/// Softmax attention of each sequence by itself, in the dtype of qkv; no dropout.
inline torch::Tensor plain_attention(const torch::Tensor& qkv, const std::vector<std::int64_t>& offsets,
                                     std::int64_t heads) {
  const std::int64_t dim = qkv.size(1) / 3;
  std::vector<torch::Tensor> parts;
  for (std::size_t s = 0; s + 1 < offsets.size(); ++s) {
    const std::int64_t length = offsets[s + 1] - offsets[s];
    const torch::Tensor p =
        qkv.narrow(0, offsets[s], length).view({length, 3, heads, dim / heads}).permute({1, 2, 0, 3});
    const torch::Tensor scores = p[0].matmul(p[1].transpose(1, 2)) / std::sqrt(static_cast<double>(dim / heads));
    const torch::Tensor future = torch::ones({length, length}, torch::kBool).triu(1);
    const torch::Tensor weights = scores.masked_fill(future, -std::numeric_limits<double>::infinity()).softmax(-1);
    parts.push_back(weights.matmul(p[2]).transpose(0, 1).reshape({length, dim}));
  }
  return torch::cat(parts);
}

/// Random items in sequences of these lengths, all of them scored.
inline Inputs inputs_of(const std::vector<std::int64_t>& lengths, std::int64_t items) {
  Inputs inputs;
  inputs.offsets = offsets_of(lengths);
  torch::manual_seed(7);
  inputs.columns["items"] = torch::randint(items, {inputs.tokens()}, torch::kLong);
  std::vector<torch::Tensor> positions{torch::empty({0}, torch::kLong)};
  for (const std::int64_t length : lengths) positions.push_back(torch::arange(length));
  inputs.positions = torch::cat(positions);
  inputs.score_tokens = torch::arange(inputs.tokens());
  inputs.token_keys = random_keys(inputs.tokens());
  return inputs;
}

/// Sequence `s` of a batch as a batch of its own.
inline Inputs alone(const Inputs& from, std::size_t s) {
  const std::int64_t begin = from.offsets[s], length = from.offsets[s + 1] - begin;
  Inputs inputs;
  inputs.offsets = {0, length};
  inputs.columns["items"] = from.items().narrow(0, begin, length);
  inputs.positions = from.positions.narrow(0, begin, length);
  inputs.score_tokens = torch::arange(length);
  inputs.token_keys = from.token_keys.narrow(0, begin, length);
  return inputs;
}

}  // namespace decant::models::test
