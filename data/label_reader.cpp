#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <utility>

#include "base/files.h"
#include "data/dataset_layout.h"
#include "data/errors.h"
#include "data/label_layout.h"
#include "data/lru_cache.h"

namespace decant::data {

namespace {

/// Part files kept open.
constexpr std::size_t kOpenFiles = 128;

struct StoredPart {
  fs::path path;
  LabelPart range;
};

struct StoredLabels {
  LabelSpec spec;
  std::int64_t part_rows = 0, targets = 0, bytes = 0;
  std::vector<StoredPart> parts;
};

/// The manifest, with every part's file there in its full size.
StoredLabels read_store(const fs::path& folder) {
  const fs::path path = folder / kManifestName;
  std::error_code error;
  if (!fs::exists(path, error))
    throw DataError(folder.string(), "the labels are missing or not finished (no manifest.json); run `decant label`");
  const base::Json manifest = base::load_document(path, kLabelsFormat, kLabelsVersion);
  StoredLabels store;
  store.spec = LabelSpec::from_json(manifest, path);
  store.part_rows = manifest_number(manifest, "part_rows", path);
  store.targets = manifest_number(manifest, "targets", path);
  if (store.part_rows < 1) throw DataError(path.string(), "part_rows must be at least 1");
  std::int64_t rows = 0, targets = 0;
  for (const base::Json& entry : manifest_field(manifest, "parts", path)) {
    StoredPart part{folder / manifest_text(entry, "file", path),
                    {manifest_number(entry, "first_row", path), manifest_number(entry, "rows", path),
                     manifest_number(entry, "targets", path)}};
    if (part.range.first_row != rows || part.range.rows != std::min(store.part_rows, store.spec.rows - rows) ||
        part.range.rows < 1)
      throw DataError(path.string(), "the row ranges of the parts do not follow each other");
    const std::int64_t bytes = manifest_number(entry, "bytes", path);
    check_size(part.path, bytes);
    store.bytes += bytes;
    rows += part.range.rows;
    targets += part.range.targets;
    store.parts.push_back(std::move(part));
  }
  if (rows != store.spec.rows || targets != store.targets)
    throw DataError(path.string(), "the parts do not add up to the store's rows and targets");
  return store;
}

/// Where the targets of a row begin: exact at every 64th row, counted on from there, so that it takes an eighth of a
/// byte a row.
class TargetIndex {
 public:
  TargetIndex(const Dataset& dataset, std::int64_t max_length) : dataset_(dataset), max_length_(max_length) {
    std::int64_t before = 0;
    for (std::int64_t row = 0; row < dataset.info().rows; ++row) {
      if (row % kStep == 0) starts_.push_back(before);
      before += dataset.training_targets(row, max_length);
    }
    if (dataset.info().rows % kStep == 0) starts_.push_back(before);
  }
  /// Targets of all rows before `row`.
  [[nodiscard]] std::int64_t before(std::int64_t row) const {
    const std::int64_t from = row / kStep;
    return starts_[static_cast<std::size_t>(from)] + targets_between(dataset_, max_length_, from * kStep, row);
  }

 private:
  static constexpr std::int64_t kStep = 64;
  const Dataset& dataset_;
  std::int64_t max_length_;
  std::vector<std::int64_t> starts_;
};

void check_fits(const StoredLabels& store, const Dataset& dataset, std::int64_t max_length, const fs::path& folder) {
  const auto same = [&](const char* what, const auto& labels, const auto& wanted) {
    const auto text = [](const auto& value) {
      if constexpr (std::is_arithmetic_v<std::decay_t<decltype(value)>>)
        return std::to_string(value);
      else
        return std::string(value);
    };
    if (labels != wanted)
      throw DataError(folder.string(), std::string("the labels do not fit: ") + what + " is " + text(labels) +
                                           " in the labels and " + text(wanted) + " here; run `decant label` again");
  };
  same("the catalogue (hash)", store.spec.catalogue_hash, dataset.info().catalogue_hash);
  same("the dataset (hash of its events)", store.spec.content_hash, dataset.info().content_hash);
  same("the number of rows", store.spec.rows, dataset.info().rows);
  same("the number of items", store.spec.items, dataset.info().items);
  same("max_length", store.spec.max_length, max_length);
  same("the view", store.spec.view, std::int64_t{0});
  same("the window rule", store.spec.window, std::string("last"));
}

template <class To, class From>
void copy_rows(const std::vector<From>& from, std::int64_t first, std::int64_t count, std::int64_t width,
               std::vector<To>& to) {
  const auto begin = from.begin() + first * width;
  to.insert(to.end(), begin, begin + count * width);
}

}  // namespace

struct LabelStore::Impl {
  Impl(const fs::path& folder, const Dataset& from, std::int64_t length, std::size_t cache_bytes)
      : store(read_store(folder)),
        dataset(from),
        max_length(length),
        index(from, length),
        files(kOpenFiles),
        units(cache_bytes) {}

  [[nodiscard]] std::shared_ptr<const Hdf5File> file(std::size_t part);
  [[nodiscard]] std::shared_ptr<const LabelUnit> unit(std::size_t part, std::int64_t number, std::int64_t row);
  void append(std::int64_t row, TopKLabels& out);

  StoredLabels store;
  const Dataset& dataset;
  std::int64_t max_length;
  TargetIndex index;
  LruCache<Hdf5File> files;
  LruCache<LabelUnit> units;
};

std::shared_ptr<const Hdf5File> LabelStore::Impl::file(std::size_t part) {
  return files.get(part, [&] {
    // Units are whole chunks and read once: the library's own cache of chunks would only cost memory.
    auto opened = std::make_shared<const Hdf5File>(Hdf5File::open(store.parts[part].path, 0));
    check_part(*opened, store.spec, store.parts[part].range);
    return std::pair(std::move(opened), std::size_t{1});
  });
}

std::shared_ptr<const LabelUnit> LabelStore::Impl::unit(std::size_t part, std::int64_t number, std::int64_t row) {
  constexpr unsigned kUnitBits = 40;
  return units.get(static_cast<std::uint64_t>(part) << kUnitBits | static_cast<std::uint64_t>(number), [&] {
    const std::int64_t first = number * kUnitTargets;
    const std::int64_t count = std::min(kUnitTargets, store.parts[part].range.targets - first);
    auto made = std::make_shared<const LabelUnit>(read_unit(*file(part), store.spec, first, count, row));
    return std::pair(std::move(made), static_cast<std::size_t>(count * label_bytes_per_target(store.spec)));
  });
}

void LabelStore::Impl::append(std::int64_t row, TopKLabels& out) {
  const auto part = static_cast<std::size_t>(row / store.part_rows);
  std::int64_t at = index.before(row) - index.before(store.parts[part].range.first_row);
  const std::int64_t end = at + dataset.training_targets(row, max_length);
  while (at < end) {
    const std::int64_t first = at % kUnitTargets;
    const std::int64_t count = std::min(kUnitTargets - first, end - at);
    const std::shared_ptr<const LabelUnit> from = unit(part, at / kUnitTargets, row);
    copy_rows(from->ids, first, count, store.spec.k, out.ids);
    for (std::int64_t i = first * store.spec.k; i < (first + count) * store.spec.k; ++i)
      out.logits_half.push_back(from->logits[static_cast<std::size_t>(i)].bits);
    copy_rows(from->peak, first, count, 1, out.peak);
    copy_rows(from->rest_lse, first, count, static_cast<std::int64_t>(store.spec.temperatures.size()), out.rest_lse);
    copy_rows(from->target_logit, first, count, 1, out.target_logit);
    copy_rows(from->target_rank, first, count, 1, out.target_rank);
    at += count;
  }
}

LabelStore::LabelStore(const fs::path& folder, const Dataset& dataset, std::int64_t max_length, std::size_t cache_bytes)
    : impl_(std::make_unique<Impl>(folder, dataset, max_length, cache_bytes)) {
  check_fits(impl_->store, dataset, max_length, folder);
  for (const StoredPart& part : impl_->store.parts) {
    const LabelPart& range = part.range;
    if (impl_->index.before(range.first_row + range.rows) - impl_->index.before(range.first_row) != range.targets)
      throw DataError(part.path.string(), "its targets are not those of the dataset's rows from " +
                                              std::to_string(range.first_row) + " on");
  }
}
LabelStore::~LabelStore() = default;

const LabelSpec& LabelStore::spec() const { return impl_->store.spec; }

TopKLabels LabelStore::read(const PackedBatch& batch) const {
  TopKLabels out;
  out.k = spec().k;
  out.temperatures = spec().temperatures;
  out.ids.reserve(static_cast<std::size_t>(batch.targets() * out.k));
  out.logits_half.reserve(static_cast<std::size_t>(batch.targets() * out.k));
  auto target = batch.target_tokens.begin();
  for (std::size_t s = 0; s < batch.sample_ids.size(); ++s) {
    const std::int64_t row = batch.sample_ids[s];
    const auto end =
        std::find_if(target, batch.target_tokens.end(), [&](auto token) { return token >= batch.offsets[s + 1]; });
    const std::int64_t labelled = impl_->dataset.training_targets(row, impl_->max_length);
    const std::int64_t start = training_length(impl_->dataset.length(row)) - 1 - labelled;
    if (end - target != labelled || batch.window_starts[s] != start)
      throw DataError(impl_->store.parts.front().path.parent_path().string(), kIds, row,
                      "the batch's window is not the training window that was labelled");
    impl_->append(row, out);
    target = end;
  }
  return out;
}

base::Json inspect_labels(const fs::path& folder) {
  const StoredLabels store = read_store(folder);
  for (const StoredPart& part : store.parts) verify_part(Hdf5File::open(part.path, 0), store.spec, part.range);
  base::Json out = {{"format", kLabelsFormat}, {"version", kLabelsVersion}};
  out.update(store.spec.to_json());
  out["targets"] = store.targets;
  out["part_rows"] = store.part_rows;
  out["parts"] = store.parts.size();
  out["bytes"] = store.bytes;
  out["verified"] = true;
  return out;
}

}  // namespace decant::data
