// Attention of one (sequence, head): rows are taken in blocks of up to kRows, keys are transposed once, so that scores
// of a block and kWidth keys come from one column of keys in registers and no sum runs across a vector. What is padded
// to a vector's width is zero or ignored. Everything is in base 2: exp(x) = 2^(x log2 e); log2 e goes into the scale.
#include "models/ops/sequence_kernels.h"

#include "models/ops/simd.h"

namespace decant::models::DECANT_ISA {

namespace {

constexpr int kRows = kWidth == 16 ? 8 : 4;  // as many as the registers hold two vectors of
constexpr float kLog2e = 1.44269504088896340736f;
constexpr std::uint32_t kGolden = 0x9e3779b9u;

/// Factors (keep_scale or 0) of kWidth neighbours from `first`.
DECANT_INLINE Float kept(std::uint32_t row_key, Size first, const KeyedDrop& drop) {
  const Word hash = mix32<Word>(row_key + lanes(first) * kGolden);
  return hash >= drop.threshold ? splat(drop.keep_scale) : Float{};
}

/// out[r, :] = <a[r], bt[:, column]> of C vectors of columns; row r of `a` is a + r * a_stride.
template <int R, int C>
DECANT_INLINE void dots_tile(const float* a, Size a_stride, const float* bt, Size stride, Size depth, float* out) {
  constexpr int kChains = R * C >= 8 ? 1 : R * C >= 4 ? 2 : 4;  // sums side by side, for the latency of an addition
  Float acc[kChains][R][C] = {};
  const auto add = [&](Size d, int chain) __attribute__((always_inline)) {
    for (int c = 0; c < C; ++c) {
      const Float b = load(bt + d * stride + c * kWidth);
      for (int r = 0; r < R; ++r) acc[chain][r][c] += a[r * a_stride + d] * b;
    }
  };
  Size d = 0;
  for (; d + kChains <= depth; d += kChains) {
    for (int chain = 0; chain < kChains; ++chain) add(d + chain, chain);
  }
  for (; d < depth; ++d) add(d, 0);
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) {
      Float total = acc[0][r][c];
      for (int chain = 1; chain < kChains; ++chain) total += acc[chain][r][c];
      store(out + r * stride + c * kWidth, total);
    }
  }
}

/// out[r, j] = <a[r], bt[:, j]> for j < columns, a multiple of kWidth.
template <int R>
DECANT_INLINE void dots(const float* a, Size a_stride, const float* bt, Size stride, Size depth, Size columns,
                        float* out) {
  Size j = 0;
  for (; j + 2 * kWidth <= columns; j += 2 * kWidth) dots_tile<R, 2>(a, a_stride, bt + j, stride, depth, out + j);
  if (j < columns) dots_tile<R, 1>(a, a_stride, bt + j, stride, depth, out + j);
}

/// out[r] = factor[r] * sum over j < count of w[r, j] * b[j], rows of b `width` (padded) long, of out `out_stride`;
/// `depth` values of each row are written.
template <int R>
DECANT_INLINE void combine(const float* w, Size w_stride, const float* b, Size width, Size count, const float* factor,
                           Size depth, float* out, Size out_stride) {
  for (Size c = 0; c < width; c += kWidth) {
    Float acc[R] = {};
    for (Size j = 0; j < count; ++j) {
      const Float row = load(b + j * width + c);
      for (int r = 0; r < R; ++r) acc[r] += w[r * w_stride + j] * row;
    }
    for (int r = 0; r < R; ++r) store_part(out + r * out_stride + c, acc[r] * factor[r], depth - c);
  }
}

/// out[j] += sum over r of w[r, j] * a[r], for j < count; the last R rows of out are new, and not read.
template <int R>
DECANT_INLINE void spread(const float* w, Size w_stride, const float* a, Size width, Size count, float* out) {
  for (Size c = 0; c < width; c += kWidth) {
    Float rows[R];
    for (int r = 0; r < R; ++r) rows[r] = load(a + r * width + c);
    const auto add = [&](Size j, Float acc) __attribute__((always_inline)) {
      for (int r = 0; r < R; ++r) acc += w[r * w_stride + j] * rows[r];
      store(out + j * width + c, acc);
    };
    for (Size j = 0; j < count - R; ++j) add(j, load(out + j * width + c));
    for (Size j = count - R; j < count; ++j) add(j, Float{});
  }
}

/// [length, depth] with a row stride -> [length, width], zero beyond depth.
DECANT_INLINE void pack(const float* from, Size from_stride, Size length, Size depth, Size width, float* to) {
  for (Size t = 0; t < length; ++t) {
    for (Size c = 0; c < width; c += kWidth)
      store(to + t * width + c, load_part(from + t * from_stride + c, depth - c));
  }
}

DECANT_INLINE void unpack(const float* from, Size width, Size length, Size depth, float* to, Size to_stride) {
  for (Size t = 0; t < length; ++t) {
    for (Size c = 0; c < width; c += kWidth) store_part(to + t * to_stride + c, load(from + t * width + c), depth - c);
  }
}

/// [length, depth] with a row stride -> [depth, stride], zero beyond length.
DECANT_INLINE void transpose(const float* from, Size from_stride, Size length, Size depth, Size stride, float* to) {
  for (Size t = 0; t < length; t += kWidth) {
    for (Size d = 0; d < depth; d += kWidth) {
      Float square[kWidth];
      for (Size i = 0; i < kWidth; ++i) {
        square[i] = t + i < length ? load_part(from + (t + i) * from_stride + d, depth - d) : Float{};
      }
      transpose_square(square);
      for (Size i = 0; i < kWidth && d + i < depth; ++i) store(to + (d + i) * stride + t, square[i]);
    }
  }
}

/// One (sequence, head): where its rows begin, and its sizes.
struct Pair {
  Size first, length, head, depth, dim;
  Size width;   // depth padded
  Size stride;  // length padded
  float scale;
  DECANT_INLINE Pair(const AttentionArgs& args, Size pair)
      : first(args.offsets[pair / args.heads]),
        length(args.offsets[pair / args.heads + 1] - first),
        head(pair % args.heads),
        depth(args.head_dim),
        dim(args.heads * args.head_dim),
        width(padded(depth)),
        stride(padded(length)),
        scale(1.0f / __builtin_sqrtf(static_cast<float>(depth))) {}
  /// Row 0 of q, k or v (part 0, 1, 2) in a [tokens, 3 * dim] array.
  template <class T>
  DECANT_INLINE T* part(T* base, int which) const {
    return base + first * 3 * dim + which * dim + head * depth;
  }
  template <class T>
  DECANT_INLINE T* row(T* base) const {
    return base + first * dim + head * depth;
  }
  DECANT_INLINE float* stats(const AttentionArgs& args, Size i) const {
    return args.stats + ((first + i) * args.heads + head) * 2;
  }
  DECANT_INLINE std::uint32_t row_key(const AttentionArgs& args, Size i) const {
    const auto key = static_cast<std::uint32_t>(args.token_keys[first + i]);
    return mix32(mix32(key ^ args.drop.site_key) + static_cast<std::uint32_t>(head) * kGolden);
  }
};

template <int R>
struct Rows {
  static constexpr int kCount = R;
};

/// Calls body(Rows<R>, first row) for blocks of kRows, and once for what is left.
template <class Body>
DECANT_INLINE void for_blocks(Size length, const Body& body) {
  Size i = 0;
  for (; i + kRows <= length; i += kRows) body(Rows<kRows>{}, i);
  switch (length - i) {
    case 1:
      return body(Rows<1>{}, i);
    case 2:
      return body(Rows<2>{}, i);
    case 3:
      return body(Rows<3>{}, i);
  }
  if constexpr (kRows == 8) {
    switch (length - i) {
      case 4:
        return body(Rows<4>{}, i);
      case 5:
        return body(Rows<5>{}, i);
      case 6:
        return body(Rows<6>{}, i);
      case 7:
        return body(Rows<7>{}, i);
    }
  }
}

/// Scores of row i become weights that have still to be divided by their sum; returns 1 / sum. Columns beyond i: 0.
DECANT_INLINE float softmax_row(const AttentionArgs& args, const Pair& pair, Size i, Size columns, float* row) {
  const float scale = pair.scale * kLog2e;
  const Word last = Word{} + static_cast<std::uint32_t>(i);
  const Float none = splat(-__builtin_inff());
  Float most = none;
  for (Size j = 0; j < columns; j += kWidth) {
    const Float s = lanes(j) > last ? none : load(row + j) * scale;
    store(row + j, s);
    most = s > most ? s : most;
  }
  const float top = largest(most);
  const std::uint32_t key = args.token_keys ? pair.row_key(args, i) : 0;
  Float total = {};
  for (Size j = 0; j < columns; j += kWidth) {
    const Float p = lanes(j) > last ? Float{} : exp2_negative(load(row + j) - top);
    total += p;
    store(row + j, args.token_keys ? p * kept(key, j, args.drop) : p);
  }
  const float inverse = 1.0f / sum(total);
  if (args.stats) {
    pair.stats(args, i)[0] = top;
    pair.stats(args, i)[1] = inverse;
  }
  return inverse;
}

template <int R>
void forward_block(const AttentionArgs& args, const Pair& pair, Size begin, const float* keys, const float* values,
                   float* weights) {
  const Size columns = padded(begin + R), qkv_stride = 3 * pair.dim;
  dots<R>(pair.part(args.qkv, 0) + begin * qkv_stride, qkv_stride, keys, pair.stride, pair.depth, columns, weights);
  float factor[R];
  for (int r = 0; r < R; ++r) factor[r] = softmax_row(args, pair, begin + r, columns, weights + r * pair.stride);
  combine<R>(weights, pair.stride, values, pair.width, begin + R, factor, pair.depth,
             pair.row(args.out) + begin * pair.dim, pair.dim);
}

void attention_forward(const AttentionArgs& args, Size begin, Size end, float* scratch) {
  for (Size p = begin; p < end; ++p) {
    const Pair pair(args, p);
    float* keys = scratch;
    float* values = keys + pair.stride * pair.depth;
    float* weights = values + pair.length * pair.width;
    transpose(pair.part(args.qkv, 1), 3 * pair.dim, pair.length, pair.depth, pair.stride, keys);
    pack(pair.part(args.qkv, 2), 3 * pair.dim, pair.length, pair.depth, pair.width, values);
    for_blocks(pair.length,
               [&](auto rows, Size i) { forward_block<decltype(rows)::kCount>(args, pair, i, keys, values, weights); });
  }
}

/// What the backward pass of one (sequence, head) keeps: packed and transposed inputs, sums of gradients, a block.
struct GradScratch {
  float *queries, *keys, *keys_t, *values_t, *out_grad, *key_grad, *value_grad, *weights, *grads;
  DECANT_INLINE GradScratch(const Pair& pair, float* at) {
    const Size rows = pair.length * pair.width, columns = pair.stride * pair.depth;
    const auto take = [&at](Size n) { return (at += n) - n; };
    keys_t = take(columns), values_t = take(columns);
    queries = take(rows), keys = take(rows), out_grad = take(rows), key_grad = take(rows), value_grad = take(rows);
    weights = take(kRows * pair.stride), grads = take(kRows * pair.stride);
  }
};

/// From scores (in `weights`) and gradients of weights (in `grads`): dropped probabilities and gradients of scores.
DECANT_INLINE void grad_row(const AttentionArgs& args, const Pair& pair, Size i, Size columns, float delta,
                            float* weights, float* grads) {
  const float scale = pair.scale * kLog2e;
  const float top = pair.stats(args, i)[0], inverse = pair.stats(args, i)[1];
  const Word last = Word{} + static_cast<std::uint32_t>(i);
  const std::uint32_t key = args.token_keys ? pair.row_key(args, i) : 0;
  for (Size j = 0; j < columns; j += kWidth) {
    const Float all = exp2_negative(load(weights + j) * scale - top) * inverse;
    const Float p = lanes(j) > last ? Float{} : all;
    const Float factor = args.token_keys ? kept(key, j, args.drop) : splat(1.0f);
    store(weights + j, p * factor);
    store(grads + j, p * (load(grads + j) * factor - delta) * pair.scale);
  }
}

template <int R>
void backward_block(const AttentionGradArgs& args, const Pair& pair, Size begin, const GradScratch& s) {
  const AttentionArgs& in = args.forward;
  const Size columns = padded(begin + R), width = pair.width;
  const float* queries = s.queries + begin * width;
  const float* out_grad = s.out_grad + begin * width;
  dots<R>(queries, width, s.keys_t, pair.stride, pair.depth, columns, s.weights);
  dots<R>(out_grad, width, s.values_t, pair.stride, pair.depth, columns, s.grads);
  for (int r = 0; r < R; ++r) {
    const float* out = pair.row(static_cast<const float*>(in.out)) + (begin + r) * pair.dim;
    Float delta = {};
    for (Size c = 0; c < width; c += kWidth)
      delta += load_part(out + c, pair.depth - c) * load(out_grad + r * width + c);
    grad_row(in, pair, begin + r, columns, sum(delta), s.weights + r * pair.stride, s.grads + r * pair.stride);
  }
  float ones[R];
  for (int r = 0; r < R; ++r) ones[r] = 1;
  combine<R>(s.grads, pair.stride, s.keys, width, begin + R, ones, pair.depth,
             pair.part(args.qkv_grad, 0) + begin * 3 * pair.dim, 3 * pair.dim);
  spread<R>(s.grads, pair.stride, queries, width, begin + R, s.key_grad);
  spread<R>(s.weights, pair.stride, out_grad, width, begin + R, s.value_grad);
}

void attention_backward(const AttentionGradArgs& args, Size begin, Size end, float* scratch) {
  for (Size p = begin; p < end; ++p) {
    const AttentionArgs& in = args.forward;
    const Pair pair(in, p);
    const GradScratch s(pair, scratch);
    const Size rows = 3 * pair.dim;
    transpose(pair.part(in.qkv, 1), rows, pair.length, pair.depth, pair.stride, s.keys_t);
    transpose(pair.part(in.qkv, 2), rows, pair.length, pair.depth, pair.stride, s.values_t);
    pack(pair.part(in.qkv, 0), rows, pair.length, pair.depth, pair.width, s.queries);
    pack(pair.part(in.qkv, 1), rows, pair.length, pair.depth, pair.width, s.keys);
    pack(pair.row(args.out_grad), pair.dim, pair.length, pair.depth, pair.width, s.out_grad);
    for_blocks(pair.length, [&](auto block, Size i) { backward_block<decltype(block)::kCount>(args, pair, i, s); });
    unpack(s.key_grad, pair.width, pair.length, pair.depth, pair.part(args.qkv_grad, 1), rows);
    unpack(s.value_grad, pair.width, pair.length, pair.depth, pair.part(args.qkv_grad, 2), rows);
  }
}

void dropout(const DropoutArgs& args, Size begin, Size end) {
  for (Size t = begin; t < end; ++t) {
    const std::uint32_t key = mix32(static_cast<std::uint32_t>(args.token_keys[t]) ^ args.drop.site_key);
    const float* x = args.x + t * args.dim;
    float* out = args.out + t * args.dim;
    for (Size c = 0; c < args.dim; c += kWidth) {
      store_part(out + c, load_part(x + c, args.dim - c) * kept(key, c, args.drop), args.dim - c);
    }
  }
}

}  // namespace

extern const SequenceKernels kSequenceKernels;
const SequenceKernels kSequenceKernels{dropout, attention_forward, attention_backward};

}  // namespace decant::models::DECANT_ISA
