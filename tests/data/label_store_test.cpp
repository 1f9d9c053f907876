#include "data/label_store.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "data/errors.h"
#include "data/hdf5_file.h"
#include "tests/data/label_support.h"

namespace decant::data {
namespace {

using namespace testing_support;

constexpr std::int64_t kMaxLength = 6;
constexpr std::int64_t kRows = 2500;  // three parts, the last one short

class Labels : public testing::Test {
 protected:
  Labels() {
    write_rows(folder_ / "dataset", ragged_rows(kRows));
    dataset_ = std::make_unique<Dataset>(folder_ / "dataset");
    spec_ = spec_of(*dataset_, kMaxLength, 5);
  }
  [[nodiscard]] fs::path folder() const { return folder_ / "labels"; }
  [[nodiscard]] LabelWriter writer(const std::string& key = "key-1") const {
    LabelSpec spec = spec_;
    spec.key = key;
    return {folder(), *dataset_, spec};
  }
  [[nodiscard]] LabelRows part_labels(const LabelWriter& writer, std::int64_t part) const {
    const auto [first, last] = writer.part_rows(part);
    return labels_of(*dataset_, spec_, first, last);
  }
  void write_all() const { write_labels(writer(), *dataset_, spec_); }
  [[nodiscard]] std::string why_refused() const {
    return message_of<base::Error>([&] { const LabelSet store(folder(), *dataset_, kMaxLength); });
  }
  [[nodiscard]] std::vector<std::string> entries() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder())) names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }

  TempFolder folder_;
  std::unique_ptr<Dataset> dataset_;
  LabelSpec spec_;
};

TEST_F(Labels, PartsAreAFunctionOfTheDataset) {
  EXPECT_EQ(label_part_rows(*dataset_), 1024);
  EXPECT_EQ(writer().parts(), 3);
  EXPECT_EQ(writer().part_rows(1), (std::pair<std::int64_t, std::int64_t>{1024, 2048}));
  EXPECT_EQ(writer().part_rows(2), (std::pair<std::int64_t, std::int64_t>{2048, kRows}));
  EXPECT_THROW((void)writer().part_rows(3), base::ConfigError);
  EXPECT_THROW((void)writer().part_rows(-1), base::ConfigError);
}

TEST_F(Labels, SizesAreKnownBeforehand) {
  std::int64_t targets = 0;
  for (std::int64_t row = 0; row < kRows; ++row) targets += dataset_->training_targets(row, kMaxLength);
  EXPECT_EQ(training_targets(*dataset_, kMaxLength), targets);
  EXPECT_EQ(label_bytes_per_target(spec_), 5 * 4 + 5 * 2 + 4 + 3 * 4 + 2 * 2);
}

TEST_F(Labels, ReadWhatWasWritten) {
  write_all();
  const LabelSet store(folder(), *dataset_, kMaxLength);
  EXPECT_EQ(store.spec().key, "key-1");
  EXPECT_EQ(store.spec().to_json(), spec_.to_json());
  // Everything, in order and out of order, in batches that cross parts.
  const PackedBatch whole = dataset_->training_batch(all_rows(*dataset_), kMaxLength);
  EXPECT_EQ(store.read(whole).targets, whole.targets());
  EXPECT_TRUE(equal(store.read(whole), labels_of(spec_, whole)));
  for (std::int64_t start = 0; start < 40; ++start) {
    std::vector<std::int64_t> rows;
    for (std::int64_t i = 0; i < 30; ++i) rows.push_back((start * 61 + i * 997) % kRows);
    const PackedBatch batch = dataset_->training_batch(rows, kMaxLength);
    EXPECT_TRUE(equal(store.read(batch), labels_of(spec_, batch))) << "batch " << start;
  }
  const PackedBatch none = dataset_->training_batch({}, kMaxLength);
  EXPECT_EQ(store.read(none).targets, 0);
}

TEST_F(Labels, ReadTheSameThroughATinyCache) {
  write_all();
  const LabelSet store(folder(), *dataset_, kMaxLength, 1);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (std::int64_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (std::int64_t i = 0; i < 40; ++i) {
        const PackedBatch batch = dataset_->training_batch({(i * 1031 + t) % kRows, (i * 577) % kRows}, kMaxLength);
        if (!equal(store.read(batch), labels_of(spec_, batch))) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(Labels, AreTheSameBytesWhoeverWrites) {
  write_all();
  std::vector<std::string> first;
  for (const std::string& name : entries()) first.push_back(bytes_of(folder() / name));
  EXPECT_EQ(entries(), (std::vector<std::string>{"manifest.json", "part-00000.h5", "part-00001.h5", "part-00002.h5"}));
  fs::remove_all(folder());
  // Two "ranks" with objects of their own, out of order, at another time.
  ::sleep(1);
  const LabelWriter a = writer(), b = writer();
  a.prepare();
  b.write_part(2, part_labels(b, 2));
  a.write_part(1, part_labels(a, 1));
  b.write_part(0, part_labels(b, 0));
  a.finish();
  ASSERT_EQ(entries().size(), first.size());
  for (std::size_t i = 0; i < first.size(); ++i)
    EXPECT_TRUE(bytes_of(folder() / entries()[i]) == first[i]) << entries()[i];
}

TEST_F(Labels, ContinueWhereTheyWereCut) {
  const LabelWriter first = writer();
  first.prepare();
  first.write_part(0, part_labels(first, 0));
  first.write_part(2, part_labels(first, 2));
  EXPECT_CONTAINS(message_of<DataError>([&] { first.finish(); }), "part-00001.h5");
  EXPECT_CONTAINS(why_refused(), "not finished");

  const LabelWriter second = writer();
  second.prepare();  // keeps the work of the same key
  EXPECT_TRUE(second.has_part(0));
  EXPECT_FALSE(second.has_part(1));
  EXPECT_TRUE(second.has_part(2));
  second.write_part(1, part_labels(second, 1));
  second.finish();
  const PackedBatch batch = dataset_->training_batch({1500, 5, 2400}, kMaxLength);
  EXPECT_TRUE(equal(LabelSet(folder(), *dataset_, kMaxLength).read(batch), labels_of(spec_, batch)));
}

TEST_F(Labels, PreparingAFinishedStoreKeepsIt) {
  write_all();
  writer().prepare();
  EXPECT_EQ(LabelSet(folder(), *dataset_, kMaxLength).spec().key, "key-1");
}

TEST_F(Labels, PreparingRemovesWorkOfAnotherKeyAndHalfFiles) {
  write_all();
  write_text(folder() / ".part-00001.h5.tmp-host-77", "half");
  const LabelWriter other = writer("key-2");
  EXPECT_FALSE(other.has_part(0));
  other.prepare();
  EXPECT_EQ(entries(), std::vector<std::string>{});

  // A killed job's mixture: one part of each key, and one that is damaged.
  other.write_part(0, part_labels(other, 0));
  const LabelWriter old = writer("key-1");
  old.write_part(1, part_labels(old, 1));
  write_text(folder() / "part-00002.h5", "damaged");
  other.prepare();
  EXPECT_EQ(entries(), std::vector<std::string>{"part-00000.h5"});
}

TEST_F(Labels, PreparingRefusesAFolderOfSomethingElse) {
  const LabelWriter misplaced(folder_ / "dataset", *dataset_, spec_);
  EXPECT_THROW(misplaced.prepare(), base::ConfigError);
  EXPECT_EQ(Dataset(folder_ / "dataset").info().rows, kRows);  // untouched
  fs::create_directories(folder());
  write_text(folder() / "notes.txt", "mine");
  EXPECT_CONTAINS(message_of<base::ConfigError>([&] { writer().prepare(); }), "notes.txt");
}

TEST_F(Labels, ADamagedPartIsWrittenAgain) {
  const LabelWriter labels = writer();
  labels.prepare();
  labels.write_part(0, part_labels(labels, 0));
  ASSERT_TRUE(labels.has_part(0));
  const fs::path path = folder() / "part-00000.h5";
  const std::string bytes = bytes_of(path);
  poke(path, bytes.size() - 100, static_cast<char>(bytes[bytes.size() - 100] ^ 1));
  EXPECT_FALSE(labels.has_part(0));
  write_text(path, bytes.substr(0, bytes.size() / 2));
  EXPECT_FALSE(labels.has_part(0));
  write_text(path, bytes);
  EXPECT_TRUE(labels.has_part(0));
}

TEST_F(Labels, AFullDiskLeavesNoPart) {
  const LabelWriter labels = writer();
  labels.prepare();
  {
    const FullDisk full(30'000);
    EXPECT_CONTAINS(message_of<DataError>([&] { labels.write_part(0, part_labels(labels, 0)); }), "part-00000.h5");
  }
  EXPECT_EQ(entries(), std::vector<std::string>{});
  labels.write_part(0, part_labels(labels, 0));
  EXPECT_TRUE(labels.has_part(0));
}

TEST_F(Labels, RefuseOtherNumbersOfTargets) {
  const LabelWriter labels = writer();
  labels.prepare();
  EXPECT_CONTAINS(message_of<DataError>([&] { labels.write_part(1, part_labels(labels, 0)); }), "part-00001.h5");
  LabelRows wrong = part_labels(labels, 0);
  wrong.columns[2].pop_back();
  EXPECT_CONTAINS(message_of<DataError>([&] { labels.write_part(0, wrong); }), "differ in length");
  const auto refused = [&](std::size_t column, std::size_t at, auto value) {
    LabelRows changed = part_labels(labels, 0);
    std::memcpy(changed.columns[column].data() + at * sizeof value, &value, sizeof value);
    return message_of<DataError>([&] { labels.write_part(0, changed); });
  };
  EXPECT_CONTAINS(refused(0, 7, static_cast<std::uint32_t>(spec_.items)), "/ids, row 1: item 50");
  EXPECT_CONTAINS(refused(2, 3, std::numeric_limits<float>::quiet_NaN()), "/peak, row 3: a value is not a number");
  EXPECT_CONTAINS(refused(1, 4, std::uint16_t{0xfe00}), "/logits, row 0: a value is not a number");
  EXPECT_CONTAINS(refused(4, 4, std::uint16_t{0x7fc0}), "/brain, row 2: a value is not a number");
  wrong = LabelRows(std::make_shared<const LabelSpec>(spec_of(*dataset_, kMaxLength, 4)));
  EXPECT_CONTAINS(message_of<DataError>([&] { labels.write_part(0, wrong); }), "other columns");
  wrong = part_labels(labels, 0);
  wrong.present.assign(static_cast<std::size_t>(wrong.targets), 1);
  wrong.present[5] = 0;
  EXPECT_CONTAINS(message_of<DataError>([&] { labels.write_part(0, wrong); }), "have no label");
  EXPECT_EQ(entries(), std::vector<std::string>{});
}

TEST_F(Labels, RefuseASpecThatCannotBe) {
  const auto refused = [&](const std::function<void(LabelSpec&)>& change) {
    LabelSpec spec = spec_;
    change(spec);
    EXPECT_THROW(LabelWriter(folder(), *dataset_, spec), base::ConfigError);
  };
  refused([](LabelSpec& s) { s.columns.clear(); });
  refused([](LabelSpec& s) { s.columns[1].width = 0; });
  refused([](LabelSpec& s) { s.compression = "zstd"; });
  refused([](LabelSpec& s) { s.max_length = 0; });
  refused([](LabelSpec& s) { s.content_hash = "another"; });
}

TEST_F(Labels, MissingOnesSayWhatToDo) {
  EXPECT_CONTAINS(why_refused(), "run `decant label`");
  EXPECT_CONTAINS(why_refused(), folder().string());
}

TEST_F(Labels, StaleOnesSayWhatDiffers) {
  write_all();
  EXPECT_CONTAINS(message_of<DataError>([&] { const LabelSet store(folder(), *dataset_, kMaxLength + 1); }),
                  "max_length is 6 in the labels and 7 here");
  auto rows = ragged_rows(kRows);
  rows[18].at(0) = (rows[18].at(0) + 1) % 50;
  write_rows(folder_ / "other", rows);
  const Dataset other(folder_ / "other");
  EXPECT_CONTAINS(message_of<DataError>([&] { const LabelSet store(folder(), other, kMaxLength); }),
                  "hash of its events");
  write_rows(folder_ / "larger", {{0, 1, 2, 3, 60}});
  const Dataset larger(folder_ / "larger");
  EXPECT_CONTAINS(message_of<DataError>([&] { const LabelSet store(folder(), larger, kMaxLength); }), "catalogue");
}

TEST_F(Labels, RefuseAWindowThatWasNotLabelled) {
  write_all();
  const LabelSet store(folder(), *dataset_, kMaxLength);
  // Row 18 has 5 training events; under shorter windows its first targets are missing.
  const PackedBatch shorter = dataset_->training_batch({18}, 2);
  ASSERT_EQ(shorter.targets(), 2);
  EXPECT_CONTAINS(message_of<DataError>([&] { (void)store.read(shorter); }), "row 18");
  EXPECT_THROW((void)store.read(dataset_->evaluation_batch(Split::kTest, 0, 50, kMaxLength)), DataError);
}

TEST_F(Labels, CutAndMissingPartsAreNamed) {
  write_all();
  const fs::path path = folder() / "part-00001.h5";
  const std::string bytes = bytes_of(path);
  write_text(path, bytes.substr(0, bytes.size() - 1));
  EXPECT_CONTAINS(why_refused(), path.string());
  EXPECT_CONTAINS(why_refused(), "cut short");
  fs::remove(path);
  EXPECT_CONTAINS(why_refused(), path.string());
  // Another part's rows in its place: the size or the range tells.
  fs::copy_file(folder() / "part-00000.h5", path);
  EXPECT_CONTAINS(message_of<DataError>([&] {
                    const LabelSet store(folder(), *dataset_, kMaxLength);
                    (void)store.read(dataset_->training_batch({1102}, kMaxLength));
                  }),
                  path.string());
}

TEST_F(Labels, APartOfAnotherKeyIsRefusedWhenRead) {
  write_all();
  const LabelWriter other = writer("key-2");
  other.write_part(1, part_labels(other, 1));
  const LabelSet store(folder(), *dataset_, kMaxLength);
  (void)store.read(dataset_->training_batch({1}, kMaxLength));
  EXPECT_CONTAINS(message_of<DataError>([&] { (void)store.read(dataset_->training_batch({1102}, kMaxLength)); }),
                  "key-2");
}

TEST_F(Labels, OtherVersionsAreRefusedByName) {
  write_all();
  const base::Json manifest = base::load_document(folder() / "manifest.json", "decant-labels", 2);
  base::save_document(folder() / "manifest.json", "decant-labels", 3, manifest);
  EXPECT_CONTAINS(why_refused(), "newer");
  base::save_document(folder() / "manifest.json", "decant-labels", 1, manifest);
  EXPECT_CONTAINS(why_refused(), "version 1, which this program does not read: run `decant label` again");
  for (const char* field : {"columns", "options", "rows", "key", "recipe", "parts", "targets"}) {
    base::Json changed = manifest;
    changed.erase(field);
    base::save_document(folder() / "manifest.json", "decant-labels", 2, changed);
    EXPECT_CONTAINS(why_refused(), std::string("the field ") + field + " is missing");
  }
  base::Json changed = manifest;
  changed["columns"][1]["dtype"] = "f8";
  base::save_document(folder() / "manifest.json", "decant-labels", 2, changed);
  EXPECT_CONTAINS(why_refused(), "unknown type of elements 'f8'");
}

TEST_F(Labels, AreTheSameWithoutCompressionAndWhoeverCompresses) {
  write_all();
  const auto whole =
      LabelSet(folder(), *dataset_, kMaxLength).read(dataset_->training_batch({3, 1500, 40}, kMaxLength));
  const std::string bytes = bytes_of(folder() / "part-00001.h5");
  const LabelWriter again = writer();
  again.write_part(1, part_labels(again, 1), 3);  // three threads
  EXPECT_TRUE(bytes_of(folder() / "part-00001.h5") == bytes);
  spec_.compression = "none";
  write_labels(writer("key-2"), *dataset_, spec_);
  EXPECT_GT(fs::file_size(folder() / "part-00001.h5"), bytes.size());
  EXPECT_EQ(LabelSet(folder(), *dataset_, kMaxLength).spec().compression, "none");
  EXPECT_TRUE(equal(LabelSet(folder(), *dataset_, kMaxLength).read(dataset_->training_batch({3, 1500, 40}, kMaxLength)),
                    whole));
}

TEST_F(Labels, RowsOfOtherEventsAreKnownOneByOne) {
  write_all();
  auto rows = ragged_rows(kRows + 700);  // appended ...
  rows[18].at(1) = (rows[18].at(1) + 1) % 50;
  rows[29].push_back(7);  // ... and two changed
  write_rows(folder_ / "grown", rows);
  const Dataset grown(folder_ / "grown");
  const LabelSet before = LabelSet::of_other_events(folder(), grown, kMaxLength);
  std::vector<std::int64_t> stale;
  for (std::int64_t row = 0; row < kRows; ++row)
    if (!before.has_row(row)) stale.push_back(row);
  EXPECT_EQ(stale, (std::vector<std::int64_t>{18, 29}));
  EXPECT_FALSE(before.has_row(kRows));
  LabelRows read(std::make_shared<const LabelSpec>(spec_));
  before.read_row(1500, read);
  EXPECT_TRUE(equal(read, labels_of(*dataset_, spec_, 1500, 1501)));
}

TEST_F(Labels, ASetMayLackRows) {
  write_all();
  // A part without the targets of row 18, as another program may write it.
  const Dataset& dataset = *dataset_;
  const std::int64_t lacking = dataset.training_targets(18, kMaxLength);
  ASSERT_GT(lacking, 0);
  const auto [first, last] = writer().part_rows(0);
  LabelRows fewer(std::make_shared<const LabelSpec>(spec_));
  std::vector<std::uint32_t> counts;
  for (std::int64_t row = first; row < last; ++row) {
    counts.push_back(row == 18 ? 0 : static_cast<std::uint32_t>(dataset.training_targets(row, kMaxLength)));
    if (row != 18) fewer.append(labels_of(dataset, spec_, row, row + 1), 0, counts.back());
  }
  const fs::path path = folder() / "part-00000.h5";
  {
    Hdf5File file = Hdf5File::create(path);
    file.set_text("/", "key", spec_.key);
    file.set_number("/", "first_row", 0);
    file.set_number("/", "rows", 1024);
    file.set_number("/", "targets", static_cast<std::uint64_t>(fewer.targets));
    file.make_group("/rows");
    file.write("/rows/targets", std::span<const std::uint32_t>(counts), 0, 100);
    // Chunks of other sizes than decant's, and no compression.
    file.write("/ids", fewer.values<std::uint32_t>("ids"), 5, 77);
    file.write("/logits", fewer.values<Half>("logits"), 5, 1000);
    file.write("/peak", fewer.values<float>("peak"), 1, 77);
    file.write("/rest_lse", fewer.values<float>("rest_lse"), 3, 256);
    file.make_chunked("/brain", Element::kBf16, {fewer.targets, 2}, fewer.targets, {ChunkFilter::kFletcher32});
    file.write_chunk("/brain", 0, encode_chunk(fewer.columns[4], 2, {ChunkFilter::kFletcher32}));
    file.close();
  }
  base::Json manifest = base::load_document(folder() / "manifest.json", "decant-labels", 2);
  manifest["targets"] = manifest["targets"].get<std::int64_t>() - lacking;
  manifest["parts"][0]["targets"] = fewer.targets;
  manifest["parts"][0]["bytes"] = fs::file_size(path);
  base::save_document(folder() / "manifest.json", "decant-labels", 2, manifest);
  const LabelSet store(folder(), dataset, kMaxLength);
  EXPECT_FALSE(store.has_row(18));
  EXPECT_TRUE(store.has_row(19));
  const PackedBatch batch = dataset.training_batch({17, 18, 19}, kMaxLength);
  LabelRows wanted = labels_of(dataset, spec_, 17, 18);
  wanted.append_absent(lacking);
  wanted.append(labels_of(dataset, spec_, 19, 20), 0, dataset.training_targets(19, kMaxLength));
  EXPECT_TRUE(equal(store.read(batch), wanted));
  EXPECT_EQ(store.read(batch).values<std::uint32_t>(
                "ids")[static_cast<std::size_t>(5 * dataset.training_targets(17, kMaxLength))],
            kNoItem);
  EXPECT_EQ(inspect_labels(folder())["verified"], true);
}

TEST_F(Labels, ARunReadsSeveralSets) {
  write_labels(LabelWriter(folder() / "first", *dataset_, spec_), *dataset_, spec_);
  const LabelSpec second = spec_of(*dataset_, kMaxLength, 3, "key-2");
  write_labels(LabelWriter(folder() / "second", *dataset_, second), *dataset_, second);
  const LabelStore store({{"first", folder() / "first"}, {"second", folder() / "second"}}, *dataset_, kMaxLength);
  EXPECT_EQ(store.widths("ids"), (std::map<std::string, std::int64_t>{{"first", 5}, {"second", 3}}));
  const PackedBatch batch = dataset_->training_batch({17, 2100, 19}, kMaxLength);
  const auto read = store.read(batch);
  ASSERT_EQ(read.size(), 2U);
  EXPECT_TRUE(equal(read.at("first"), labels_of(spec_, batch)));
  EXPECT_TRUE(equal(read.at("second"), labels_of(second, batch)));
  EXPECT_CONTAINS(message_of<base::ConfigError>([&] { (void)store.set("third"); }), "'third'");
}

TEST_F(Labels, APartWithoutTargetsIsWhole) {
  auto rows = ragged_rows(kRows);
  for (std::size_t r = 1024; r < 2048; ++r) rows[r].resize(std::min<std::size_t>(1, rows[r].size()));
  write_rows(folder_ / "sparse", rows);
  const Dataset sparse(folder_ / "sparse");
  const LabelSpec spec = spec_of(sparse, kMaxLength, 5);
  const LabelWriter labels(folder(), sparse, spec);
  write_labels(labels, sparse, spec);
  EXPECT_TRUE(labels.has_part(1));
  const LabelSet store(folder(), sparse, kMaxLength);
  const PackedBatch batch = sparse.training_batch({1000, 1500, 2100}, kMaxLength);
  EXPECT_TRUE(equal(store.read(batch), labels_of(spec, batch)));
  EXPECT_EQ(inspect_labels(folder())["parts"], 3);
}

TEST_F(Labels, InspectionVerifiesEveryPart) {
  write_all();
  const base::Json found = inspect_labels(folder());
  EXPECT_EQ(found["format"], "decant-labels");
  EXPECT_EQ(found["targets"], training_targets(*dataset_, kMaxLength));
  EXPECT_EQ(found["options"]["k"], 5);
  EXPECT_EQ(found["verified"], true);
  const fs::path path = folder() / "part-00002.h5";
  const std::string bytes = bytes_of(path);
  poke(path, bytes.size() - 64, static_cast<char>(bytes[bytes.size() - 64] ^ 16));
  EXPECT_CONTAINS(message_of<DataError>([&] { (void)inspect_labels(folder()); }), path.string());
}

/// A store of one small part, for changing every byte of it.
class SmallLabels : public Labels {
 protected:
  SmallLabels() {
    write_rows(folder_ / "small", ragged_rows(12));
    small_ = std::make_unique<Dataset>(folder_ / "small");
    spec_ = spec_of(*small_, kMaxLength, 4);
    spec_.compression = "none";  // so that a label's bytes can be found in the file
    write_labels(LabelWriter(folder(), *small_, spec_), *small_, spec_);
    batch_ = small_->training_batch(all_rows(*small_), kMaxLength);
    whole_ = labels_of(spec_, batch_);
  }
  /// True when reading threw an error that names the file; a failure when it gave other labels.
  bool is_refused(const fs::path& path, const std::string& what) const {
    try {
      EXPECT_TRUE(equal(LabelSet(folder(), *small_, kMaxLength).read(batch_), whole_)) << what;
      return false;
    } catch (const base::Error& error) {
      EXPECT_EQ(error.code(), base::ExitCode::kData);
      EXPECT_CONTAINS(error.what(), path.string());
      return true;
    }
  }
  std::size_t flip_all(const fs::path& path, unsigned char bits) const {
    const std::string bytes = bytes_of(path);
    std::size_t refused = 0;
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      poke(path, at, static_cast<char>(bytes[at] ^ static_cast<char>(bits)));
      refused += is_refused(path, "byte " + std::to_string(at));
      poke(path, at, bytes[at]);
    }
    return refused;
  }
  std::unique_ptr<Dataset> small_;
  PackedBatch batch_;
  LabelRows whole_;
};

TEST_F(SmallLabels, AFlippedByteIsFound) {
  ASSERT_TRUE(equal(LabelSet(folder(), *small_, kMaxLength).read(batch_), whole_));
  const fs::path part = folder() / "part-00000.h5";
  for (const unsigned char bits : {0x10, 0x01, 0xff}) EXPECT_GT(flip_all(part, bits), fs::file_size(part) / 3);
  EXPECT_EQ(flip_all(folder() / "manifest.json", 0x02), fs::file_size(folder() / "manifest.json"));
}

TEST_F(SmallLabels, AFlippedByteOfCompressedLabelsIsFound) {
  spec_.compression = "deflate";
  spec_.key = "deflated";
  write_labels(LabelWriter(folder(), *small_, spec_), *small_, spec_);
  ASSERT_TRUE(equal(LabelSet(folder(), *small_, kMaxLength).read(batch_), labels_of(spec_, batch_)));
  whole_ = labels_of(spec_, batch_);
  const fs::path part = folder() / "part-00000.h5";
  for (const unsigned char bits : {0x10, 0x80}) EXPECT_GT(flip_all(part, bits), fs::file_size(part) / 4);
}

TEST_F(SmallLabels, CutsOfAnyLengthAreFound) {
  for (const char* name : {"part-00000.h5", "manifest.json"}) {
    const fs::path path = folder() / name;
    const std::string bytes = bytes_of(path);
    for (std::size_t size = 0; size < bytes.size(); size += bytes.size() / 100 + 1) {
      write_text(path, bytes.substr(0, size));
      EXPECT_TRUE(is_refused(path, std::string(name) + " cut to " + std::to_string(size)));
      EXPECT_CONTAINS(message_of<base::Error>([&] { (void)inspect_labels(folder()); }), path.string());
    }
    write_text(path, bytes);
  }
}

TEST_F(SmallLabels, WhatInspectionPassesIsWhole) {
  const fs::path path = folder() / "part-00000.h5";
  const std::string bytes = bytes_of(path);
  std::size_t found = 0;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    poke(path, at, static_cast<char>(bytes[at] ^ 0x10));
    try {
      (void)inspect_labels(folder());
      EXPECT_FALSE(is_refused(path, "byte " + std::to_string(at))) << "inspection has missed byte " << at;
    } catch (const base::Error& error) {
      EXPECT_CONTAINS(error.what(), path.string());
      ++found;
    }
    poke(path, at, bytes[at]);
  }
  EXPECT_GT(found, bytes.size() / 3);
}

TEST_F(SmallLabels, DamageIsNamedByFileDatasetAndRow) {
  const fs::path path = folder() / "part-00000.h5";
  const std::string bytes = bytes_of(path);
  const std::string ids = [&] { return std::string(reinterpret_cast<const char*>(whole_.columns[0].data()), 32); }();
  const std::size_t at = bytes.find(ids);
  ASSERT_NE(at, std::string::npos);
  poke(path, at, static_cast<char>(bytes[at] + 1));
  const LabelSet store(folder(), *small_, kMaxLength);
  const std::string message = message_of<DataError>([&] { (void)store.read(batch_); });
  EXPECT_CONTAINS(message, path.string() + ": /ids, row ");
  EXPECT_CONTAINS(message, "Fletcher32");
}

}  // namespace
}  // namespace decant::data
