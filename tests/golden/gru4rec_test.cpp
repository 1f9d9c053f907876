// GRU4Rec against the numbers of its PyTorch twin: tests/golden/README.md.
#include "models/gru4rec.h"

#include "tests/golden/golden_model.h"

namespace decant::models::golden {
namespace {

class GoldenGru4Rec : public GoldenModel {
 protected:
  void SetUp() override {
    read("gru4rec");
    Gru4RecOptions options;
    options.dim = size(1), options.hidden = size(2), options.layers = size(3), options.max_length = size(4);
    take(std::make_shared<Gru4Rec>(options, ModelContext{.items = size(0), .seed = 1}));
  }
};

TEST_F(GoldenGru4Rec, NamesAndShapesAreTheTwins) { expect_names_and_shapes(); }

TEST_F(GoldenGru4Rec, Forward) { expect_forward(); }

TEST_F(GoldenGru4Rec, Gradients) {
  backward();
  for (const auto& parameter : model_->named_parameters())
    EXPECT_LT(relative(parameter.value().grad(), golden_.at("grad." + parameter.key())), kTolerance) << parameter.key();
}

}  // namespace
}  // namespace decant::models::golden
