#include "models/torch_script.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/repeat_interleave.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <sstream>

#include "base/files.h"
#include "base/hash.h"

namespace decant::models {

struct TorchScript::Script {
  std::string file, hash;
  torch::jit::Module module;
  [[noreturn]] void refuse(const std::string& why) const { throw base::ConfigError("file " + file + ": " + why); }
};

namespace {

constexpr const char* kTable = "item_table";

/// Item vectors as they were read.
class ReadTable : public DenseTable {
 public:
  explicit ReadTable(const torch::Tensor& rows) { weight_ = register_parameter("weight", rows, false); }
  [[nodiscard]] std::int64_t items() const override { return weight_.size(0); }
  [[nodiscard]] std::int64_t dim() const override { return weight_.size(1); }
  [[nodiscard]] torch::Tensor lookup(const torch::Tensor& ids) override { return at::embedding(weight_, ids); }
  [[nodiscard]] torch::Tensor rows() override { return weight_; }

 private:
  torch::Tensor weight_;
};

/// LibTorch's messages carry its call stack.
std::string first_lines(const std::exception& error) {
  const std::string text = error.what();
  const auto stack = text.find("\nException raised from");
  return text.substr(0, std::min<std::size_t>(stack == std::string::npos ? text.size() : stack, 1000));
}

std::string shape_of(const torch::Tensor& tensor) {
  std::ostringstream out;
  out << tensor.sizes() << ' ' << tensor.dtype();
  return out.str();
}

torch::jit::Module load_script(const std::string& file, const std::string& bytes) {
  try {
    std::istringstream stream(bytes);
    return torch::jit::load(stream, torch::kCPU);
  } catch (const std::exception& error) {
    throw base::ConfigError("file " + file + " is not a TorchScript file (torch.jit.save): " + first_lines(error));
  }
}

/// Makes the script's parameters those of `root`, under their names, but for those that the table is a view of.
void adopt_parameters(const torch::jit::Module& script, const torch::Tensor& table, torch::nn::Module& root) {
  std::set<const c10::TensorImpl*> known;
  for (const auto& named : script.named_parameters()) {
    if (named.value.is_alias_of(table) || !known.insert(named.value.unsafeGetTensorImpl()).second) continue;
    torch::nn::Module* at = &root;
    std::string rest = named.name;
    for (auto dot = rest.find('.'); dot != std::string::npos; dot = rest.find('.')) {
      const auto children = at->named_children();
      const auto* child = children.find(rest.substr(0, dot));
      at = child != nullptr
               ? child->get()
               : at->register_module(rest.substr(0, dot), std::make_shared<torch::nn::Module>(rest.substr(0, dot)))
                     .get();
      rest = rest.substr(dot + 1);
    }
    at->register_parameter(rest, named.value, false);
  }
}

torch::Tensor read_table(torch::jit::Module& script) {
  if (const auto method = script.find_method(kTable)) return (*method)({}).toTensor();
  return script.attr(kTable).toTensor();
}

}  // namespace

void TorchScriptOptions::describe(base::Fields& fields) {
  fields.text("file", file, "of torch.jit.save: a teacher made elsewhere, which is not trained");
  fields.integer("max_length", max_length, {1, 1 << 20}, "longest window, in items");
}

TorchScript::TorchScript(const TorchScriptOptions& options, const ModelContext& context)
    : max_length_(options.max_length), script_(std::make_unique<Script>()) {
  if (options.file.empty()) throw base::ConfigError("torchscript: 'file' is missing: what torch.jit.save wrote");
  const torch::NoGradGuard no_grad;
  auto& script = *script_;
  script.file = options.file;
  std::string bytes;
  try {
    bytes = base::read_file(options.file);
  } catch (const base::Error& error) {
    throw base::ConfigError(std::string("file ") + error.what());
  }
  script.hash = base::hash_hex(bytes);
  script.module = load_script(options.file, bytes);
  script.module.eval();
  if (!script.module.find_method("forward")) script.refuse("has no method forward(items, lengths)");
  if (!script.module.find_method(kTable) && !script.module.hasattr(kTable))
    script.refuse(
        "has neither the method item_table() nor the tensor item_table: the item vectors [items, d] whose "
        "products with the hidden states are the logits");
  torch::Tensor table;
  try {
    table = read_table(script.module);
  } catch (const std::exception& error) {
    script.refuse("item_table gives no tensor: " + first_lines(error));
  }
  if (table.dim() != 2 || !table.is_floating_point() || table.size(0) < 1)
    script.refuse("item_table is " + shape_of(table) + ", and must be floats [items, d]");
  if (context.items > 1 && table.size(0) != context.items)
    script.refuse("item_table has " + std::to_string(table.size(0)) + " items, and the dataset " +
                  std::to_string(context.items));
  if (!table.isfinite().all().item<bool>()) script.refuse("item_table holds numbers that are not finite");
  item_ = register_module("item", std::make_shared<ReadTable>(table.detach().to(torch::kFloat32).contiguous()));
  adopt_parameters(script.module, table, *register_module("encoder", std::make_shared<torch::nn::Module>("encoder")));
  check_states(table.size(0));
}

TorchScript::~TorchScript() = default;

Table& TorchScript::table() { return *item_; }

torch::Tensor TorchScript::states(const torch::Tensor& items, const torch::Tensor& lengths) {
  const torch::NoGradGuard no_grad;
  try {
    return script_->module.forward({items, lengths}).toTensor();
  } catch (const std::exception& error) {
    script_->refuse("forward(items " + shape_of(items) + ", lengths " + shape_of(lengths) +
                    ") failed: " + first_lines(error));
  }
}

/// Asks for two windows that begin alike: one of a single item, one as long as the job says.
void TorchScript::check_states(std::int64_t items) {
  const auto window = at::arange(max_length_, torch::kInt64).remainder(items);
  auto both = torch::zeros({2, max_length_}, torch::kInt64);
  both[1].copy_(window);
  const auto hidden = states(both, torch::tensor({std::int64_t{1}, max_length_}, torch::kInt64));
  const std::int64_t dim = item_->dim();
  if (!hidden.is_floating_point() || hidden.sizes() != torch::IntArrayRef({2, max_length_, dim}))
    script_->refuse("forward gives " + shape_of(hidden) + " for two windows of 'max_length' " +
                    std::to_string(max_length_) + ", and must give floats [2, " + std::to_string(max_length_) + ", " +
                    std::to_string(dim) + "]: a hidden state a position, as wide as item_table" +
                    (hidden.dim() == 3 && hidden.size(2) == items ? "; logits are not asked for" : ""));
  if (!hidden[0][0].isfinite().all().item<bool>() || !hidden[1].isfinite().all().item<bool>())
    script_->refuse("forward gives numbers that are not finite");
  if (!torch::allclose(hidden[0][0], hidden[1][0], 1e-2, 1e-3))
    script_->refuse("forward's state after an item depends on later items or on padding, and must not");
}

Output TorchScript::forward(const Inputs& inputs, const std::set<std::string>& wanted_taps) {
  for (const auto& tap : wanted_taps)
    if (tap != "hidden") throw base::ConfigError("torchscript has no tap '" + tap + "' (known: hidden)");
  const auto device = inputs.items().device();
  const auto windows = static_cast<std::int64_t>(inputs.offsets.size()) - 1;
  const auto ends = torch::tensor(inputs.offsets, torch::kInt64);
  const auto lengths = ends.narrow(0, 1, windows) - ends.narrow(0, 0, windows);
  const std::int64_t longest = windows > 0 ? lengths.max().item<std::int64_t>() : 0;
  const auto window_of = at::repeat_interleave(lengths).to(device);
  const auto places = window_of * longest + inputs.positions;
  const auto padded = torch::zeros({windows * longest}, inputs.items().options()).scatter(0, places, inputs.items());
  const auto hidden = states(padded.view({windows, longest}), lengths.to(device));
  const auto rows = hidden.to(torch::kFloat32).reshape({windows * longest, item_->dim()});
  Output output;
  output.scores = {rows.index_select(0, places.index_select(0, inputs.score_tokens)), item_.get()};
  if (wanted_taps.contains("hidden")) output.taps.emplace("hidden", rows.index_select(0, places));
  return output;
}

void TorchScript::to(torch::Device device, bool non_blocking) {
  script_->module.to(device, non_blocking);  // its buffers too
  SequenceModel::to(device, non_blocking);
}

std::map<std::string, std::string> TorchScript::spec() const {
  return {{"model", "torchscript"},
          {"items", std::to_string(item_->items())},
          {"dim", std::to_string(item_->dim())},
          {"max_length", std::to_string(max_length_)},
          {"script", script_->hash}};
}

}  // namespace decant::models
