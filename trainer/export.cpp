#include "trainer/export.h"

#include <unistd.h>

#include <algorithm>

#include "base/files.h"
#include "models/input_columns.h"
#include "models/int8_model.h"
#include "models/onnx_graph.h"
#include "models/projected_table.h"
#include "models/ready_model.h"
#include "trainer/errors.h"

namespace decant::trainer {
namespace {

using models::OnnxGraph;

constexpr const char* kFormat = "decant-export";
constexpr int kVersion = 1;
constexpr const char* kSpec = "spec.json";
constexpr const char* kIds = "item_ids.json";

const SideOptions& options_of(const Workspace& space, const std::string& side) {
  if (side == "teacher") return space.job.teacher;
  return space.job.student;
}

/// A folder beside the wanted one, which becomes it or goes.
class Draft {
 public:
  explicit Draft(const fs::path& to) : to_(to), folder_(to) {
    folder_ += ".partial-" + std::to_string(::getpid());
    fs::remove_all(folder_);
    std::error_code error;
    if (!fs::create_directories(folder_, error))
      throw base::FileError(folder_.string(), "cannot make: " + error.message());
  }
  ~Draft() {
    std::error_code error;
    fs::remove_all(folder_, error);
  }
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;
  [[nodiscard]] fs::path path(const std::string& name) const { return folder_ / name; }
  void commit() {
    base::sync_path(folder_);
    base::replace_path(folder_, to_);
  }

 private:
  fs::path to_, folder_;
};

/// Without a slash at its end, so that names beside it can be made of it.
fs::path target_of(const fs::path& to) { return to.has_filename() ? to : to.parent_path(); }

void check_target(const fs::path& to, bool replace) {
  if (!fs::exists(to)) return;
  if (fs::is_directory(to) && fs::is_empty(to)) return;
  if (!fs::exists(to / kSpec))
    throw base::ConfigError("--to " + to.string() + " is there and is no export of decant's: choose another name");
  static_cast<void>(base::load_document(to / kSpec, kFormat, kVersion));
  if (!replace) throw base::ConfigError("--to " + to.string() + " holds an export already: --replace takes its place");
}

bool wants_onnx(const std::string& format) {
  bool onnx = false;
  for (std::size_t at = 0; at <= format.size();) {
    const auto end = std::min(format.find(',', at), format.size());
    const auto word = format.substr(at, end - at);
    if (word != "safetensors" && word != "onnx")
      throw base::ConfigError("--format: '" + word + "' is none of safetensors, onnx");
    onnx = onnx || word == "onnx";
    at = end + 1;
  }
  return onnx;
}

struct Exported {
  std::shared_ptr<models::SequenceModel> model;
  models::NamedTensors weights;
  std::string table;  // name of the item vectors
  std::map<std::string, std::string> spec;
};

Exported gather(Workspace& space, const std::string& side) {
  const auto& ready = options_of(space, side).model.options;
  if (models::is_ready_model(ready.get()))
    throw base::ConfigError("the " + side + " is a TorchScript file (" + models::ready_file(ready.get()) +
                            "), which is its own export");
  Exported out{finished_model(space, side), {}, {}, {}};
  const torch::NoGradGuard no_grad;
  auto& table = out.model->table();
  out.spec = out.model->spec();
  const auto* projected = dynamic_cast<const models::ProjectedTable*>(&table);
  for (const auto& item : out.model->named_buffers())
    if (item.key() == models::kFoldedBuffer) out.weights.emplace_back(models::kItemInput, item.value());
  for (const auto& item : out.model->named_parameters()) {
    auto value = item.value().detach();
    if (item.key().starts_with(models::kFoldedPrefix)) continue;  // in the vectors above
    if (projected != nullptr && item.value().is_same(projected->projection)) continue;
    const bool rows = item.value().is_same(table.parameters().front());
    if (rows) out.table = item.key();
    if (rows && projected != nullptr) value = projected->compose();  // what it comes to, not its factors
    out.weights.emplace_back(item.key(), value);
  }
  out.spec.erase("table_width");
  return out;
}

void write_ids(const data::Dataset& dataset, const fs::path& path) {
  base::FileWriter file(path);
  for (std::int64_t item = 0; item < dataset.info().items; ++item)
    file.append((item == 0 ? "[" : ",\n") +
                base::Json(dataset.item_name(item)).dump(-1, ' ', false, base::Json::error_handler_t::replace));
  file.append(dataset.info().items == 0 ? "[]\n" : "]\n");
  file.commit();
}

/// Three graphs on one file of weights; `mark`: "" or ".int8". Returns what spec.json says of them.
base::Json write_graphs(const Exported& what, const Draft& draft, const std::string& mark) {
  const auto* encoder = dynamic_cast<const models::OnnxEncoder*>(what.model.get());
  if (encoder == nullptr)
    throw base::ConfigError("a model of kind '" + what.spec.at("model") +
                            "' has no ONNX graph here: --format safetensors exports its weights");
  using Type = OnnxGraph::Type;
  const auto weights = models::onnx_weights(draft.path("model" + mark + ".safetensors"));
  const auto dim = std::to_string(what.model->table().dim()), items = std::to_string(what.model->table().items());
  base::Json out;
  const auto write = [&](const std::string& name, const OnnxGraph& graph, base::Json inputs, base::Json outputs) {
    base::write_file(draft.path(name + mark + ".onnx"), graph.bytes());
    out[name + mark + ".onnx"] = {{"inputs", std::move(inputs)}, {"outputs", std::move(outputs)}};
  };
  OnnxGraph encode("encoder", weights);
  const auto histories = encode.input("items", Type::kInt64, {"batch", "length"});
  const auto lengths = encode.input("lengths", Type::kInt64, {"batch"});
  encode.output(encoder->encode(encode, histories, lengths), "hidden", Type::kFloat, {"batch", dim});
  write("encoder", encode, encode.inputs(), {"hidden"});

  OnnxGraph score("scores", weights);
  const auto hidden = score.input("hidden", Type::kFloat, {"batch", dim});
  score.output(models::onnx_scores(score, what.table, hidden), "scores", Type::kFloat, {"batch", items});
  write("scores", score, {"hidden"}, {"scores"});

  OnnxGraph search("topk", weights);
  const auto rows = search.input("hidden", Type::kFloat, {"batch", dim});
  const auto k = search.input("k", Type::kInt64, {"1"});
  const auto best = search.add("TopK", {models::onnx_scores(search, what.table, rows), k}, 2, {});
  search.output(best[1], "items", Type::kInt64, {"batch", "k"});
  search.output(best[0], "scores", Type::kFloat, {"batch", "k"});
  write("topk", search, {"hidden", "k"}, {"items", "scores"});
  return out;
}

base::Json metrics_of(models::SequenceModel& model, Workspace& space) {
  base::Json out;
  for (const auto& [name, split] : {std::pair("valid", data::Split::kValid), std::pair("test", data::Split::kTest)}) {
    const auto found = evaluate_model(model, space.dataset(), split, false, space.context).all.metrics();
    for (const char* metric : {"ndcg@10", "recall@10"}) out[name][metric] = found.at(metric);
  }
  return out;
}

/// The int8 form ranks as the export computes: it is made of a second copy, whose weights it rounds.
base::Json quality_of(const Exported& what, Workspace& space, const std::string& side) {
  models::Int8Model rounded(finished_model(space, side));
  return {{"float32", metrics_of(*what.model, space)}, {"int8", metrics_of(rounded, space)}};
}

/// What a service must know to give the columns that vary with users and events; those of items are in the weights.
base::Json columns_of_inputs(Workspace& space, const std::string& side) {
  base::Json out = base::Json::object();
  const auto taken = columns_of(space, side);
  for (const auto& info : space.dataset().columns()) {
    const auto name = info.full_name();
    if (info.table == "item" || std::find(taken.begin(), taken.end(), name) == taken.end()) continue;
    if (info.kind == "number") {
      out[name] = {{"transform", info.transform}, {"mean", info.mean}, {"deviation", info.deviation}};
      continue;
    }
    out[name] = {{"width", info.width}, {"missing", data::kMissingCode}, {"other", data::kOtherCode}};
    auto& codes = out[name]["codes"] = base::Json::object();
    const auto vocabulary = space.dataset().vocabulary(name);
    for (std::int64_t i = 0; i < vocabulary.size(); ++i)
      codes[std::string(vocabulary.at(i))] = data::kFirstValueCode + i;
  }
  return out;
}

/// The model's own description, numbers as numbers.
base::Json spec_json(const std::map<std::string, std::string>& spec) {
  base::Json out;
  for (const auto& [name, value] : spec) {
    const bool number = !value.empty() && value.find_first_not_of("0123456789") == std::string::npos;
    out[name] = number ? base::Json(std::stoll(value)) : base::Json(value);
  }
  return out;
}

}  // namespace

void ExportOptions::describe(base::Fields& fields) {
  fields.text("side", side, "whose: the model that the run has trained", {"teacher", "student", "control"});
  fields.text("format", format, "safetensors, or safetensors,onnx: the graphs read their weights from that file");
  fields.flag("int8", int8, "int8 rows with scales too, and what they cost in quality");
  fields.flag("replace", replace, "an export that is there already");
}

std::vector<std::string> columns_of(const Workspace& space, const std::string& side) {
  return models::columns_of(options_of(space, side).model.options.get());
}

std::shared_ptr<models::SequenceModel> finished_model(Workspace& space, const std::string& side) {
  const auto record = read_stage(space.folder(side));
  if (!record || !record->done)
    throw CheckpointError(space.folder(side).string(),
                          "holds no finished " + side + ": run 'decant run' with this job file first");
  auto model = space.load_model(options_of(space, side), side);
  model->prepare_serving();
  return model;
}

base::Json export_model(Workspace& space, const ExportOptions& options, const fs::path& wanted) {
  const auto to = target_of(wanted);
  const bool onnx = wants_onnx(options.format);
  check_target(to, options.replace);
  const auto what = gather(space, options.side);
  const auto& info = space.dataset().info();
  auto metadata = what.spec;
  metadata["catalogue_hash"] = info.catalogue_hash;
  metadata["stage"] = options.side;

  Draft draft(to);
  base::Json spec{{"decant", DECANT_VERSION},
                  {"side", options.side},
                  {"model", spec_json(what.spec)},
                  {"parameters", what.model->parameter_count().total()},
                  {"item_table", what.table},
                  {"item_ids", kIds},
                  {"catalogue_hash", info.catalogue_hash},
                  {"weights_hash", read_stage(space.folder(options.side))->result.value("weights_hash", "")},
                  {"weights", base::Json::object()},
                  {"onnx", onnx ? base::Json::object() : base::Json()},
                  {"quality", nullptr}};
  if (auto columns = columns_of_inputs(space, options.side); !columns.empty()) spec["columns"] = std::move(columns);
  write_ids(space.dataset(), draft.path(kIds));
  const auto add = [&](const std::string& mark, const models::NamedTensors& weights) {
    const auto file = "model" + mark + ".safetensors";
    models::save_weights(draft.path(file), weights, metadata);
    spec["weights"][file] = {{"bytes", fs::file_size(draft.path(file))},
                             {"matrices", mark.empty() ? "float32" : "int8 rows, scales in <name>_scale"}};
    if (onnx) spec["onnx"].update(write_graphs(what, draft, mark));
  };
  add("", what.weights);
  if (options.int8) {
    add(".int8", models::int8_weights(what.weights));
    spec["quality"] = quality_of(what, space, options.side);
  }
  base::save_document(draft.path(kSpec), kFormat, kVersion, spec);
  draft.commit();
  return spec;
}

}  // namespace decant::trainer
