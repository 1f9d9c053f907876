// Generated behaviour logs with planted structure, to learn and to test with.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/options.h"

namespace decant::data {

/// Users have tastes over categories (a sparse mixture); a user's next item follows, with probability `transitions`,
/// a planted item-to-item successor of the last one, else a category drawn from the taste and an item of it by
/// popularity (Zipf with exponent `zipf`), else, with probability `noise`, any item. The same options give the same
/// bytes everywhere.
struct SynthesizeOptions : base::Options {
  std::int64_t users = 3000;
  std::int64_t items = 300;
  std::int64_t categories = 20;
  double mean_length = 12;  // events a user: 3 + geometric
  double transitions = 0.5;
  double noise = 0.05;
  double zipf = 1.0;
  std::int64_t seed = 1;
  void describe(base::Fields& fields) override;
};

/// Writes lines "u<number>\ti<number> i<number> ..." to `out`, whole or not at all. Throws ConfigError, FileError.
void synthesize(const SynthesizeOptions& options, const std::filesystem::path& out);

}  // namespace decant::data
