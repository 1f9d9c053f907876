// SASRec against the numbers of its PyTorch twin: tests/golden/README.md.
#include "models/sasrec.h"

#include "tests/golden/golden_model.h"

namespace decant::models::golden {
namespace {

class GoldenSasRec : public GoldenModel {
 protected:
  void SetUp() override {
    read("sasrec");
    SasRecOptions options;
    options.dim = size(1), options.layers = size(2), options.heads = size(3), options.max_length = size(4);
    take(std::make_shared<SasRec>(options, ModelContext{.items = size(0), .seed = 1}));
  }
};

TEST_F(GoldenSasRec, NamesAndShapesAreTheTwins) { expect_names_and_shapes(); }

TEST_F(GoldenSasRec, Forward) { expect_forward(); }

TEST_F(GoldenSasRec, Gradients) {
  backward();
  const std::int64_t dim = model_->table().dim();
  for (const auto& parameter : model_->named_parameters()) {
    torch::Tensor grad = parameter.value().grad(), wanted = golden_.at("grad." + parameter.key());
    if (parameter.key().ends_with("qkv.bias")) {
      // A key's bias adds the same to all scores of a row: its gradient is nothing but rounding.
      EXPECT_LT(grad.narrow(0, dim, dim).abs().max().item<double>(), kTolerance * wanted.abs().max().item<double>());
      grad = torch::cat({grad.narrow(0, 0, dim), grad.narrow(0, 2 * dim, dim)});
      wanted = torch::cat({wanted.narrow(0, 0, dim), wanted.narrow(0, 2 * dim, dim)});
    }
    EXPECT_LT(relative(grad, wanted), kTolerance) << parameter.key();
  }
}

}  // namespace
}  // namespace decant::models::golden
