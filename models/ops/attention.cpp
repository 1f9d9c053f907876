#include "models/ops/attention.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <new>
#include <stdexcept>

namespace decant::models {

namespace {

constexpr std::size_t kAlignment = 64;
/// Multiply-adds below which a second thread costs more than it brings.
constexpr std::int64_t kSerialWork = 1 << 17;

struct AlignedDelete {
  void operator()(float* p) const { ::operator delete[](p, std::align_val_t{kAlignment}); }
};

/// Cuts [0, pairs) into at most `parts` runs of about equal work, and gives each to a thread. The bits do not depend
/// on the cuts: a pair is computed by one thread, in one order.
template <class Body>
void for_pairs(const std::vector<std::int64_t>& offsets, std::int64_t heads, std::int64_t head_dim, const Body& body) {
  const auto sequences = static_cast<std::int64_t>(offsets.size()) - 1;
  // Work of the sequences before each: pairs of tokens, and what every token costs by itself.
  std::vector<std::int64_t> work(offsets.size(), 0);
  std::int64_t longest = 0;
  for (std::int64_t s = 0; s < sequences; ++s) {
    const std::int64_t length = offsets[s + 1] - offsets[s];
    work[s + 1] = work[s] + length * (length + 16);
    longest = std::max(longest, length);
  }
  const std::int64_t floats = attention_scratch(longest, head_dim);
  const auto run = [&](std::int64_t begin, std::int64_t end) {
    const std::unique_ptr<float[], AlignedDelete> scratch(static_cast<float*>(
        ::operator new[](static_cast<std::size_t>(floats) * sizeof(float), std::align_val_t{kAlignment})));
    body(begin, end, scratch.get());
  };
  const std::int64_t parts = at::in_parallel_region() ? 1 : at::get_num_threads();
  if (parts == 1 || work.back() * heads * head_dim < kSerialWork) return run(0, sequences * heads);
  const auto cut = [&](std::int64_t part) {
    if (part == parts) return sequences * heads;
    const double wanted = static_cast<double>(work.back()) * static_cast<double>(part) / static_cast<double>(parts);
    const auto at = std::upper_bound(work.begin(), work.end(), static_cast<std::int64_t>(wanted)) - work.begin() - 1;
    const double inside = (wanted - static_cast<double>(work[at])) / static_cast<double>(work[at + 1] - work[at]);
    return at * heads + static_cast<std::int64_t>(inside * static_cast<double>(heads));
  };
  at::parallel_for(0, parts, 1, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t from = cut(begin), to = cut(end);
    if (from < to) run(from, to);
  });
}

/// Raw kernels trust them.
void check_shapes(const torch::Tensor& qkv, const std::vector<std::int64_t>& offsets, std::int64_t heads) {
  if (offsets.empty() || offsets.back() != qkv.size(0) || heads < 1 || qkv.size(1) % (3 * heads) != 0) {
    throw std::invalid_argument("attention: qkv " + std::to_string(qkv.size(0)) + " x " + std::to_string(qkv.size(1)) +
                                " does not fit the offsets or " + std::to_string(heads) + " heads");
  }
}

struct Settings {
  std::vector<std::int64_t> offsets;
  std::int64_t heads = 1;
  torch::Tensor token_keys;  // here, since a Function takes no undefined tensor as an argument of its own
  std::uint32_t site = 0;
  double p = 0;
};

AttentionArgs arguments(const torch::Tensor& qkv, const Settings& settings, const torch::Tensor& out,
                        const torch::Tensor& stats) {
  const bool drops = settings.p > 0 && settings.token_keys.defined();
  return {.qkv = qkv.const_data_ptr<float>(),
          .offsets = settings.offsets.data(),
          .token_keys = drops ? settings.token_keys.const_data_ptr<std::int64_t>() : nullptr,
          .heads = settings.heads,
          .head_dim = out.size(1) / settings.heads,
          .drop = keyed_drop(settings.site, settings.p),
          .out = out.data_ptr<float>(),
          .stats = stats.defined() ? stats.data_ptr<float>() : nullptr};
}

torch::Tensor run_forward(const torch::Tensor& qkv, const Settings& settings, const torch::Tensor& stats) {
  torch::Tensor out = torch::empty({qkv.size(0), qkv.size(1) / 3}, qkv.options());
  const AttentionArgs args = arguments(qkv, settings, out, stats);
  const SequenceKernels& kernels = sequence_kernels();
  for_pairs(settings.offsets, args.heads, args.head_dim, [&](std::int64_t begin, std::int64_t end, float* scratch) {
    kernels.attention_forward(args, begin, end, scratch);
  });
  return out;
}

/// Saves inputs, output and two numbers a row; the backward pass recomputes the probabilities.
class PackedAttention : public torch::autograd::Function<PackedAttention> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& qkv,
                               const Settings& settings) {
    const torch::Tensor stats = torch::empty({qkv.size(0), settings.heads, 2}, qkv.options());
    torch::Tensor out = run_forward(qkv, settings, stats);
    context->save_for_backward({qkv, settings.token_keys, stats, out});
    context->saved_data["offsets"] = settings.offsets;
    context->saved_data["heads"] = settings.heads;
    context->saved_data["site"] = static_cast<std::int64_t>(settings.site);
    context->saved_data["p"] = settings.p;
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    if (torch::GradMode::is_enabled()) throw std::logic_error("packed_attention has no second derivative");
    const auto saved = context->get_saved_variables();
    auto& data = context->saved_data;
    const Settings settings{data["offsets"].toIntVector(), data["heads"].toInt(), saved[1],
                            static_cast<std::uint32_t>(data["site"].toInt()), data["p"].toDouble()};
    const torch::Tensor out_grad = grads[0].contiguous();
    torch::Tensor qkv_grad = torch::empty_like(saved[0]);
    const AttentionGradArgs args{arguments(saved[0], settings, saved[3], saved[2]), out_grad.const_data_ptr<float>(),
                                 qkv_grad.mutable_data_ptr<float>()};
    const SequenceKernels& kernels = sequence_kernels();
    for_pairs(settings.offsets, settings.heads, args.forward.head_dim,
              [&](std::int64_t begin, std::int64_t end, float* scratch) {
                kernels.attention_backward(args, begin, end, scratch);
              });
    return {qkv_grad, {}};
  }
};

/// Sequences whose lengths round up to the same power of two, right-padded to it.
struct Group {
  std::int64_t length = 0;
  std::vector<std::int64_t> sequences;
};

/// Groups in ascending length, and for every token its row in the concatenation of the padded groups.
struct Grouping {
  std::vector<Group> groups;
  std::vector<std::int64_t> sources;  // token of every padded row; padding repeats the sequence's first token
  std::vector<std::int64_t> rows;     // padded row of every token
};

Grouping group(const std::vector<std::int64_t>& offsets) {
  Grouping out;
  out.rows.resize(offsets.empty() ? 0 : static_cast<std::size_t>(offsets.back()));
  std::int64_t longest = 0;
  for (std::size_t s = 0; s + 1 < offsets.size(); ++s) longest = std::max(longest, offsets[s + 1] - offsets[s]);
  for (std::int64_t length = 1; length < 2 * longest; length *= 2) {
    Group group{length, {}};
    for (std::size_t s = 0; s + 1 < offsets.size(); ++s) {
      const std::int64_t n = offsets[s + 1] - offsets[s];
      if (n > length || 2 * n <= length) continue;
      group.sequences.push_back(static_cast<std::int64_t>(s));
      for (std::int64_t i = 0; i < length; ++i) {
        if (i < n) out.rows[offsets[s] + i] = static_cast<std::int64_t>(out.sources.size());
        out.sources.push_back(offsets[s] + (i < n ? i : 0));
      }
    }
    if (!group.sequences.empty()) out.groups.push_back(std::move(group));
  }
  return out;
}

torch::Tensor to_device(const std::vector<std::int64_t>& values, const torch::Device& device) {
  return torch::tensor(values, torch::kLong).to(device);
}

/// qkv [sequences, length, 3, heads, head_dim], keys [sequences, length] -> [sequences * length, dim]. Padding is on
/// the right, so the causal mask keeps real tokens from it.
torch::Tensor attend(const torch::Tensor& qkv, const torch::Tensor& keys, std::uint32_t site, double p) {
  const torch::Tensor parts = qkv.permute({2, 0, 3, 1, 4});  // [3, sequences, heads, length, head_dim]
  const std::int64_t heads = qkv.size(3), length = qkv.size(1), dim = heads * qkv.size(4);
  const double scale = 1 / std::sqrt(static_cast<double>(qkv.size(4)));
  torch::Tensor scores = parts[0].matmul(parts[1].transpose(-1, -2)) * scale;
  const torch::Tensor future = torch::ones({length, length}, qkv.options().dtype(torch::kBool)).triu(1);
  torch::Tensor weights = scores.masked_fill(future, -std::numeric_limits<float>::infinity()).softmax(-1);
  if (p > 0 && keys.defined()) {
    const KeyedDrop drop = keyed_drop(site, p);
    const torch::Tensor tokens = mix32(keys.bitwise_xor(static_cast<std::int64_t>(drop.site_key)));
    const torch::Tensor rows = hash_columns(tokens, heads).transpose(1, 2);  // [sequences, heads, length]
    weights = weights * hash_columns(rows, length).ge(static_cast<std::int64_t>(drop.threshold)).to(torch::kFloat) *
              drop.keep_scale;
  }
  return weights.matmul(parts[2]).transpose(1, 2).reshape({-1, dim});
}

}  // namespace

torch::Tensor packed_attention(const torch::Tensor& qkv, const std::vector<std::int64_t>& offsets, std::int64_t heads,
                               const torch::Tensor& token_keys, std::uint32_t site, double p) {
  if (!qkv.is_cpu()) return grouped_attention(qkv, offsets, heads, token_keys, site, p);
  if (qkv.size(0) == 0) return qkv.narrow(1, 0, qkv.size(1) / 3);
  check_shapes(qkv, offsets, heads);
  const Settings settings{offsets, heads, token_keys.defined() ? token_keys.contiguous() : token_keys, site, p};
  if (!torch::GradMode::is_enabled() || !qkv.requires_grad()) {
    return run_forward(qkv.contiguous(), settings, {});
  }
  return PackedAttention::apply(qkv.contiguous(), settings);
}

torch::Tensor grouped_attention(const torch::Tensor& qkv, const std::vector<std::int64_t>& offsets, std::int64_t heads,
                                const torch::Tensor& token_keys, std::uint32_t site, double p) {
  const std::int64_t dim = qkv.size(1) / 3;
  if (qkv.size(0) == 0) return qkv.narrow(1, 0, dim);
  check_shapes(qkv, offsets, heads);
  const Grouping grouping = group(offsets);
  const torch::Tensor sources = to_device(grouping.sources, qkv.device());
  const torch::Tensor padded = qkv.index_select(0, sources);
  const torch::Tensor keys = token_keys.defined() ? token_keys.index_select(0, sources) : token_keys;
  std::vector<torch::Tensor> results;
  std::int64_t begin = 0;
  for (const Group& group : grouping.groups) {
    const auto sequences = static_cast<std::int64_t>(group.sequences.size());
    const std::int64_t rows = sequences * group.length;
    const torch::Tensor part = padded.narrow(0, begin, rows).view({sequences, group.length, 3, heads, dim / heads});
    results.push_back(
        attend(part, keys.defined() ? keys.narrow(0, begin, rows).view({sequences, group.length}) : keys, site, p));
    begin += rows;
  }
  return torch::cat(results).index_select(0, to_device(grouping.rows, qkv.device()));
}

}  // namespace decant::models
