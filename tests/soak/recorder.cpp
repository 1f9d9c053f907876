// decant with losses that add nothing, and write down which rows of the dataset every step of training has had, so that
// tests/soak/soak.py can count them whatever happened to the job meanwhile: `rows`, and `labelled_rows`, which is dropped
// from the control as every loss on labels is.
#include <ATen/ops/zeros.h>
#include <fcntl.h>
#include <unistd.h>

#include <set>

#include "base/files.h"
#include "launch/run.h"

namespace {

using namespace decant;

constexpr const char* kHelp = "rank-<r>.txt in it gets a line a micro-batch: its step, then its rows";

struct RowsOptions : trainer::LossOptions {
  std::string folder;
  void describe(base::Fields& fields) override {
    LossOptions::describe(fields);
    fields.text("folder", folder, kHelp);
  }
};

struct LabelledRowsOptions : trainer::LabelLossOptions {
  std::string folder;
  void describe(base::Fields& fields) override {
    LabelLossOptions::describe(fields);
    fields.text("folder", folder, kHelp);
  }
};

class Rows : public trainer::Loss {
 public:
  Rows(std::string folder, bool labelled) : folder_(std::move(folder)), labelled_(labelled) {}
  ~Rows() override {
    if (file_ >= 0) ::close(file_);
  }
  trainer::LossNeeds needs() const override {
    trainer::LossNeeds needs;
    needs.target_logits = true;
    needs.labels = labelled_;
    return needs;
  }
  void prepare(const trainer::LossContext& context) override {
    const auto path = base::fs::path(folder_) / ("rank-" + std::to_string(context.rank) + ".txt");
    base::fs::create_directories(path.parent_path());
    file_ = ::open(path.c_str(), O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0666);
    if (file_ < 0) throw base::FileError(path.string(), "cannot open");
  }
  void begin_step(std::int64_t step) override { step_ = step; }
  torch::Tensor sum(const trainer::LossInputs& in) override {
    const auto ids = in.sample_ids.cpu().contiguous();
    const auto* first = ids.const_data_ptr<std::int64_t>();
    std::string line = std::to_string(step_);
    for (const auto row : std::set<std::int64_t>(first, first + ids.numel())) {
      line += ' ';
      line += std::to_string(row);
    }
    line += '\n';
    // In one call: a process that is killed has written all of it or nothing.
    if (::write(file_, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
      throw base::FileError(folder_, "cannot write the rows of step " + std::to_string(step_));
    return at::zeros({}, in.target_weights.options());
  }

 private:
  std::string folder_;
  bool labelled_;
  std::int64_t step_ = 0;
  int file_ = -1;
};

}  // namespace

int main(int argc, char** argv) {
  auto registries = trainer::default_registries();
  registries.losses.add<RowsOptions>("rows", [](const auto& o) { return std::make_shared<Rows>(o.folder, false); });
  registries.losses.add<LabelledRowsOptions>("labelled_rows",
                                             [](const auto& o) { return std::make_shared<Rows>(o.folder, true); });
  return run(argc, argv, std::move(registries));
}
