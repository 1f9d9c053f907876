#include "launch/inspect.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/files.h"
#include "data/dataset.h"
#include "data/label_store.h"
#include "models/weights_file.h"
#include "trainer/checkpoint.h"

namespace decant::launch {

namespace {

namespace fs = std::filesystem;
using base::Json;

/// By the "format" of the folder's manifest.json: who can say what is in it.
struct Inspector {
  std::string_view format;
  Json (*inspect)(const fs::path& folder);
};

constexpr std::array kInspectors{
    Inspector{"decant-dataset", &data::inspect_dataset},
    Inspector{"decant-labels", &data::inspect_labels},
    Inspector{"decant-checkpoint", &trainer::inspect_checkpoint},
};

Json inspect_manifest(const fs::path& folder) {
  const fs::path path = folder / "manifest.json";
  const Json manifest = Json::parse(base::read_file(path), nullptr, /*allow_exceptions=*/false);
  if (!manifest.is_object()) throw base::FileError(path.string(), "is damaged: it is not a JSON object");
  const std::string format = manifest.value("format", "");
  for (const Inspector& inspector : kInspectors)
    if (inspector.format == format) return inspector.inspect(folder);
  throw base::FileError(path.string(), "its format is '" + format + "', which this decant does not know");
}

Json inspect_weights(const fs::path& path) {
  const models::WeightsFile file = models::load_weights(path);
  Json tensors = Json::array();
  std::int64_t parameters = 0;
  for (const auto& [name, tensor] : file.tensors) {
    tensors.push_back(
        {{"tensor", name}, {"shape", tensor.sizes().vec()}, {"dtype", std::string(tensor.dtype().name())}});
    parameters += tensor.numel();
  }
  Json out = {{"format", "safetensors"}, {"bytes", fs::file_size(path)}, {"parameters", parameters}};
  out["metadata"] = file.metadata;
  out["tensors"] = std::move(tensors);
  return out;
}

/// Adds what lies at `path`. A run that is going on may have removed it meanwhile: it is then left out.
void add_if_there(Json& out, const std::string& name, const fs::path& path, Json (*inspect)(const fs::path&)) {
  try {
    out[name] = inspect(path);
  } catch (const base::Error&) {
    out.erase(name);
    if (fs::exists(path)) throw;
  }
}

Json inspect_run_weights(const fs::path& path) {
  Json out = inspect_weights(path);
  out.erase("tensors");
  return out;
}

/// Everything of a run folder that has a form of its own.
Json inspect_run(const fs::path& folder) {
  Json out = {{"format", "run folder"}};
  if (fs::exists(folder / "dataset" / "manifest.json")) out["dataset"] = inspect_manifest(folder / "dataset");
  if (fs::is_directory(folder / "labels"))
    for (const auto& entry : fs::directory_iterator(folder / "labels"))
      if (fs::exists(entry.path() / "manifest.json") && entry.path().extension() != ".previous")
        out["labels"][entry.path().filename().string()] = inspect_manifest(entry.path());
  for (const char* name : {"teacher", "teachers", "student", "control"}) {
    if (!fs::is_directory(folder / name)) continue;
    for (fs::recursive_directory_iterator entry(folder / name), end; entry != end; ++entry) {
      const std::string file = entry->path().lexically_relative(folder / name).string();
      if (entry->path().extension() == ".partial") {  // a checkpoint that is being written
        entry.disable_recursion_pending();
      } else if (entry->path().extension() == ".safetensors") {
        add_if_there(out[name], file, entry->path(), inspect_run_weights);
      } else if (fs::exists(entry->path() / "manifest.json")) {
        add_if_there(out[name], file, entry->path(), inspect_manifest);
        entry.disable_recursion_pending();
      }
    }
  }
  out["report"] = fs::exists(folder / "report.json");
  return out;
}

Json inspect_any(const fs::path& path) {
  if (!fs::exists(path)) throw base::ConfigError(path.string() + ": no such file or folder");
  if (fs::is_directory(path)) {
    if (fs::exists(path / "manifest.json")) return inspect_manifest(path);
    if (fs::exists(path / "job.yaml")) return inspect_run(path);
  } else if (path.extension() == ".safetensors") {
    return inspect_weights(path);
  } else if (path.filename() == "manifest.json") {
    return inspect_manifest(path.parent_path());
  }
  throw base::ConfigError(path.string() +
                          ": is no dataset, label set, checkpoint or run folder, and no .safetensors file of weights");
}

Json most_frequent(const fs::path& folder, std::int64_t most) {
  const data::Dataset dataset(folder);
  const auto& counts = dataset.training_counts();
  std::vector<std::int64_t> order(counts.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  const auto before = [&](std::int64_t a, std::int64_t b) {
    return std::pair(-counts[static_cast<std::size_t>(a)], a) < std::pair(-counts[static_cast<std::size_t>(b)], b);
  };
  const auto end = order.begin() + std::min(most, dataset.info().items);
  std::partial_sort(order.begin(), end, order.end(), before);
  order.erase(end, order.end());
  Json out = Json::array();
  for (const std::int64_t item : order)
    out.push_back({{"item", dataset.item_name(item)}, {"training_events", counts[static_cast<std::size_t>(item)]}});
  return out;
}

}  // namespace

void InspectOptions::describe(base::Fields& fields) {
  fields.integer("most_frequent", most_frequent, {0, 1e15},
                 "of a dataset: so many items with most events in training, by their ids");
}

Json inspect(const fs::path& path, const InspectOptions& options) {
  Json out = inspect_any(path);
  if (options.most_frequent == 0) return out;
  const bool run = out.contains("dataset");
  if (!run && out.value("format", "") != "decant-dataset")
    throw base::ConfigError(path.string() + ": has no dataset, whose most frequent items could be told");
  const fs::path folder = run ? path / "dataset" : fs::is_directory(path) ? path : path.parent_path();
  (run ? out["dataset"] : out)["most_frequent"] = most_frequent(folder, options.most_frequent);
  return out;
}

}  // namespace decant::launch
