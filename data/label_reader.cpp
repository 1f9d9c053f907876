#include <algorithm>
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
/// What HDF5 keeps of chunks that are not read raw: those that another program cut otherwise.
constexpr std::size_t kChunkCache = std::size_t{1} << 20;

struct OpenPart {
  Hdf5File file;
  std::vector<std::uint32_t> offsets;  // [rows + 1]
  std::vector<std::uint64_t> hashes;   // [rows]; empty: not stored
};

void check_same(const fs::path& folder, const char* what, const std::string& labels, const std::string& wanted,
                const char* hint) {
  if (labels != wanted)
    throw DataError(folder.string(), std::string("the labels do not fit: ") + what + " is " + labels +
                                         " in the labels and " + wanted + " here; " + hint);
}

void check_fits(const LabelSpec& spec, const Dataset& dataset, std::int64_t max_length, const fs::path& folder,
                bool other_events) {
  constexpr const char* kAgain = "run `decant label` again";
  check_same(folder, "the catalogue (hash)", spec.catalogue_hash, dataset.info().catalogue_hash,
             "labels name items by their place in the catalogue: label with 'data.dataset' (or 'data.import') as it is "
             "now, or name the dataset that was labelled");
  check_same(folder, "the number of items", std::to_string(spec.items), std::to_string(dataset.info().items), kAgain);
  check_same(folder, "max_length", std::to_string(spec.max_length), std::to_string(max_length),
             "set 'student.model.max_length' to that of the labels, or run `decant label` again");
  check_same(folder, "the view", std::to_string(spec.view), "0", kAgain);
  check_same(folder, "the window rule", spec.window, "last", kAgain);
  if (other_events) return;
  check_same(folder, "the dataset (hash of its events)", spec.content_hash, dataset.info().content_hash, kAgain);
  check_same(folder, "the number of rows", std::to_string(spec.rows), std::to_string(dataset.info().rows), kAgain);
}

}  // namespace

struct LabelSet::Impl {
  Impl(const fs::path& from, const Dataset& of, std::int64_t length, std::size_t cache_bytes, bool other)
      : folder(from),
        store(read_stored_labels(from)),
        dataset(of),
        max_length(length),
        other_events(other),
        files(kOpenFiles),
        units(cache_bytes) {
    check_fits(*store.spec, of, length, from, other);
  }

  [[nodiscard]] std::shared_ptr<const OpenPart> part(std::size_t number);
  [[nodiscard]] std::shared_ptr<const LabelRows> unit(std::size_t number, std::int64_t at, std::int64_t row);
  [[nodiscard]] std::size_t part_of(std::int64_t row) const { return static_cast<std::size_t>(row / store.part_rows); }
  void append(std::int64_t row, LabelRows& out);
  void refuse_row(const StoredPart& of, std::int64_t row, std::int64_t stored, std::int64_t wanted) const;

  fs::path folder;
  StoredLabels store;
  const Dataset& dataset;
  std::int64_t max_length;
  bool other_events;
  LruCache<OpenPart> files;
  LruCache<LabelRows> units;
};

std::shared_ptr<const OpenPart> LabelSet::Impl::part(std::size_t number) {
  return files.get(number, [&] {
    const StoredPart& stored = store.parts[number];
    Hdf5File file = Hdf5File::open(stored.path, kChunkCache);
    check_part(file, *store.spec, stored.range);
    auto offsets = read_row_offsets(file, stored.range);
    std::vector<std::uint64_t> hashes;
    if (other_events && file.has(kRowHash)) {
      hashes.resize(static_cast<std::size_t>(stored.range.rows));
      file.read(kRowHash, 0, std::span(hashes), stored.range.first_row);
    }
    auto opened = std::make_shared<const OpenPart>(OpenPart{std::move(file), std::move(offsets), std::move(hashes)});
    return std::pair(std::shared_ptr<const OpenPart>(std::move(opened)), std::size_t{1});
  });
}

std::shared_ptr<const LabelRows> LabelSet::Impl::unit(std::size_t number, std::int64_t at, std::int64_t row) {
  constexpr unsigned kUnitBits = 40;
  return units.get(static_cast<std::uint64_t>(number) << kUnitBits | static_cast<std::uint64_t>(at), [&] {
    const std::int64_t size = unit_targets(*store.spec), first = at * size;
    const std::int64_t count = std::min(size, store.parts[number].range.targets - first);
    auto made = std::make_shared<const LabelRows>(read_unit(part(number)->file, store.spec, first, count, row));
    return std::pair(std::shared_ptr<const LabelRows>(std::move(made)),
                     static_cast<std::size_t>(count * label_bytes_per_target(*store.spec)));
  });
}

void LabelSet::Impl::refuse_row(const StoredPart& of, std::int64_t row, std::int64_t stored,
                                std::int64_t wanted) const {
  throw DataError(
      of.path.string(), kRowTargets, row,
      "has " + std::to_string(stored) + " labels where the dataset has " + std::to_string(wanted) + " targets");
}

void LabelSet::Impl::append(std::int64_t row, LabelRows& out) {
  const std::size_t number = part_of(row);
  const StoredPart& stored = store.parts.at(number);
  const auto opened = part(number);
  const auto local = static_cast<std::size_t>(row - stored.range.first_row);
  std::int64_t at = opened->offsets[local];
  const std::int64_t end = opened->offsets[local + 1];
  const std::int64_t wanted = dataset.training_targets(row, max_length);
  if (at == end) return out.append_absent(wanted);
  if (end - at != wanted) refuse_row(stored, row, end - at, wanted);
  const std::int64_t size = unit_targets(*store.spec);
  while (at < end) {
    const std::int64_t first = at % size, count = std::min(size - first, end - at);
    out.append(*unit(number, at / size, row), first, count);
    at += count;
  }
}

LabelSet::LabelSet(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LabelSet::LabelSet(LabelSet&&) noexcept = default;
LabelSet::~LabelSet() = default;

LabelSet::LabelSet(const fs::path& folder, const Dataset& dataset, std::int64_t max_length, std::size_t cache_bytes)
    : impl_(std::make_unique<Impl>(folder, dataset, max_length, cache_bytes, false)) {}

LabelSet LabelSet::of_other_events(const fs::path& folder, const Dataset& dataset, std::int64_t max_length) {
  return LabelSet(std::make_unique<Impl>(folder, dataset, max_length, std::size_t{64} << 20, true));
}

const LabelSpec& LabelSet::spec() const { return *impl_->store.spec; }

bool LabelSet::has_row(std::int64_t row) const {
  if (row >= impl_->store.spec->rows) return false;
  const auto part = impl_->part(impl_->part_of(row));
  const auto local = static_cast<std::size_t>(row - impl_->store.parts[impl_->part_of(row)].range.first_row);
  const std::int64_t targets = impl_->dataset.training_targets(row, impl_->max_length);
  if (part->offsets[local + 1] - part->offsets[local] != targets) return false;
  if (!impl_->other_events) return true;
  return !part->hashes.empty() && part->hashes[local] == label_row_hash(impl_->dataset, row, impl_->max_length);
}

bool LabelSet::covers(std::int64_t row) const {
  if (row >= impl_->store.spec->rows) return false;
  const auto part = impl_->part(impl_->part_of(row));
  const auto local = static_cast<std::size_t>(row - impl_->store.parts[impl_->part_of(row)].range.first_row);
  return part->offsets[local + 1] > part->offsets[local] ||
         impl_->dataset.training_targets(row, impl_->max_length) == 0;
}

void LabelSet::read_row(std::int64_t row, LabelRows& out) const { impl_->append(row, out); }

LabelRows LabelSet::read(const PackedBatch& batch) const {
  LabelRows out(impl_->store.spec);
  for (std::size_t c = 0; c < out.columns.size(); ++c)
    out.columns[c].reserve(static_cast<std::size_t>(batch.targets() * out.spec->columns[c].bytes()));
  auto target = batch.target_tokens.begin();
  for (std::size_t s = 0; s < batch.sample_ids.size(); ++s) {
    const std::int64_t row = batch.sample_ids[s];
    const auto end =
        std::find_if(target, batch.target_tokens.end(), [&](auto token) { return token >= batch.offsets[s + 1]; });
    const std::int64_t labelled = impl_->dataset.training_targets(row, impl_->max_length);
    const std::int64_t start = impl_->dataset.training_length(row) - 1 - labelled;
    if (end - target != labelled || batch.window_starts[s] != start)
      throw DataError(impl_->folder.string(), kIdsColumn, row,
                      "the batch's window is not the training window that was labelled");
    impl_->append(row, out);
    target = end;
  }
  return out;
}

LabelStore::LabelStore(const std::map<std::string, fs::path>& folders, const Dataset& dataset, std::int64_t max_length,
                       std::size_t cache_bytes) {
  for (const auto& [name, folder] : folders)
    sets_.emplace(name, LabelSet(folder, dataset, max_length, cache_bytes / folders.size()));
}

std::map<std::string, std::int64_t> LabelStore::widths(const std::string& column) const {
  std::map<std::string, std::int64_t> out;
  for (const auto& [name, set] : sets_)
    for (const LabelColumn& known : set.spec().columns)
      if (known.name == column) out[name] = known.width;
  return out;
}

const LabelSet& LabelStore::set(const std::string& name) const {
  const auto at = sets_.find(name);
  if (at == sets_.end()) throw base::ConfigError("there is no label set '" + name + "' among those of this run");
  return at->second;
}

std::map<std::string, LabelRows> LabelStore::read(const PackedBatch& batch) const {
  std::map<std::string, LabelRows> out;
  for (const auto& [name, set] : sets_) out.emplace(name, set.read(batch));
  return out;
}

LabelSpec read_label_spec(const fs::path& folder) { return *read_stored_labels(folder).spec; }

void walk_labels(const fs::path& folder,
                 const std::function<void(const fs::path& part, std::int64_t first, const LabelRows&)>& visit) {
  const StoredLabels store = read_stored_labels(folder);
  const std::int64_t unit = unit_targets(*store.spec);
  for (const StoredPart& part : store.parts) {
    const Hdf5File file = Hdf5File::open(part.path, kChunkCache);
    for (std::int64_t first = 0; first < part.range.targets; first += unit)
      visit(part.path, first,
            read_unit(file, store.spec, first, std::min(unit, part.range.targets - first), part.range.first_row));
  }
}

base::Json inspect_labels(const fs::path& folder) {
  const StoredLabels store = read_stored_labels(folder);
  for (const StoredPart& part : store.parts) verify_part(Hdf5File::open(part.path), store.spec, part.range);
  base::Json out = {{"format", kLabelsFormat}, {"version", kLabelsVersion}};
  out.update(store.spec->to_json());
  out["targets"] = store.targets;
  out["part_rows"] = store.part_rows;
  out["parts"] = store.parts.size();
  out["bytes"] = store.bytes;
  out["verified"] = true;
  return out;
}

}  // namespace decant::data
