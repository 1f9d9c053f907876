// Damaged, cut, missing, newer and foreign files: an error that names what is wrong, or the same data, never other data.
#include <gtest/gtest.h>

#include <set>

#include "data/dataset_reader.h"
#include "data/errors.h"
#include "data/hdf5_file.h"
#include "tests/data/support.h"

#ifdef __SANITIZE_ADDRESS__
// HDF5 1.10.8 itself loses 370 bytes with every damaged file that it refuses; nothing else of it leaks.
extern "C" const char* __lsan_default_suppressions() { return "leak:libhdf5"; }
#endif

namespace decant::data {
namespace {

using namespace testing_support;

class DatasetDamage : public testing::Test {
 protected:
  DatasetDamage() {
    // Names and events without regularity: a byte that moves must not go unseen because its neighbour is alike.
    write_rows(folder(), ragged_rows(40));
    whole_ = read_everything(folder());
  }
  [[nodiscard]] fs::path folder() const { return folder_ / "dataset"; }

  /// Opens and reads all; true when it threw one of our errors that names `file` (default: one of the folder), a failure
  /// when the data is other data.
  [[nodiscard]] bool refused(const std::string& what, const fs::path& file = {}) const {
    try {
      EXPECT_EQ(read_everything(folder()), whole_) << what << ": other data was read without an error";
      return false;
    } catch (const base::Error& error) {
      EXPECT_EQ(error.code(), base::ExitCode::kData) << error.what();
      EXPECT_CONTAINS(error.what(), (file.empty() ? folder() : file).string());
      return true;
    }
  }

  /// Flips bits of every byte in turn. Returns how many changes were refused.
  std::size_t flip_all(const fs::path& path, unsigned char bits) const {
    const std::string bytes = bytes_of(path);
    std::size_t count = 0;
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      poke(path, at, static_cast<char>(bytes[at] ^ static_cast<char>(bits)));
      count += refused(path.filename().string() + ", byte " + std::to_string(at), path);
      poke(path, at, bytes[at]);
    }
    return count;
  }

  TempFolder folder_;
  Everything whole_;
};

TEST_F(DatasetDamage, AFlippedByteOfAPartIsFound) {
  const fs::path path = folder() / "part-00000.h5";
  const std::size_t found = flip_all(path, 0x40);
  // Users' ids are not read here, and the library leaves gaps; the rest of the file matters.
  EXPECT_GT(found, fs::file_size(path) / 4);
}

TEST_F(DatasetDamage, AFlippedByteOfTheCatalogueIsFound) {
  EXPECT_GT(flip_all(folder() / "catalogue.h5", 0x01), fs::file_size(folder() / "catalogue.h5") / 4);
}

TEST_F(DatasetDamage, AFlippedByteOfTheManifestIsFound) {
  const fs::path path = folder() / "manifest.json";
  EXPECT_EQ(flip_all(path, 0x04), fs::file_size(path));
}

TEST_F(DatasetDamage, RefusedFilesAreClosed) {
  const auto descriptors = [] {
    std::ptrdiff_t count = 0;
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator("/proc/self/fd")) ++count;
    return count;
  };
  const auto before = descriptors();
  flip_all(folder() / "part-00000.h5", 0x80);
  EXPECT_EQ(descriptors(), before);
}

TEST_F(DatasetDamage, AnAllOnesOrZeroByteIsFound) {
  const fs::path path = folder() / "part-00000.h5";
  const std::string bytes = bytes_of(path);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    for (const char byte : {'\0', '\xff'}) {
      if (bytes[at] == byte) continue;
      poke(path, at, byte);
      (void)refused("byte " + std::to_string(at));
      poke(path, at, bytes[at]);
    }
  }
}

TEST_F(DatasetDamage, DamageIsNamedByFileDatasetAndRow) {
  // The stored events are the only place with these four in a row.
  const std::vector<std::vector<std::uint32_t>> rows{{0, 1, 2}, {3, 7, 5, 1, 6}, {2, 3, 4}};
  write_rows(folder(), rows);
  const fs::path path = folder() / "part-00000.h5";
  const std::string bytes = bytes_of(path);
  const std::uint32_t wanted[] = {3, 7, 5, 1, 6};
  const std::size_t at = bytes.find(std::string(reinterpret_cast<const char*>(wanted), sizeof wanted));
  ASSERT_NE(at, std::string::npos);
  poke(path, at, 9);
  const Dataset dataset(folder());  // events are read on demand
  const std::string message = message_of<DataError>([&] { (void)dataset.training_events(1); });
  EXPECT_CONTAINS(message, path.string());
  EXPECT_CONTAINS(message, "/sequences/items/values, row 0");  // of the block that was read
  EXPECT_CONTAINS(message, "Fletcher32");
  EXPECT_THROW((void)inspect_dataset(folder()), DataError);
}

TEST_F(DatasetDamage, NothingIsPrintedByTheLibrary) {
  const fs::path path = folder() / "part-00000.h5";
  write_text(path, std::string(fs::file_size(path), 'x'));
  testing::internal::CaptureStderr();
  EXPECT_THROW(Dataset dataset(folder()), DataError);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST_F(DatasetDamage, CutFilesAreRefused) {
  for (const char* name : {"part-00000.h5", "catalogue.h5", "manifest.json"}) {
    const fs::path path = folder() / name;
    const std::string bytes = bytes_of(path);
    for (std::size_t size = 0; size < bytes.size(); size += bytes.size() / 100 + 1) {
      write_text(path, bytes.substr(0, size));
      EXPECT_TRUE(refused(std::string(name) + " cut to " + std::to_string(size), path));
    }
    write_text(path, bytes + "x");
    EXPECT_TRUE(refused(std::string(name) + " made longer"));
    write_text(path, bytes);
  }
  const fs::path path = folder() / "part-00000.h5";
  fs::resize_file(path, fs::file_size(path) - 1);
  EXPECT_CONTAINS(message_of<DataError>([&] { Dataset dataset(folder()); }), "cut short");
}

TEST_F(DatasetDamage, MissingFilesAreNamed) {
  for (const char* name : {"part-00000.h5", "catalogue.h5", "manifest.json"}) {
    fs::rename(folder() / name, folder_ / "aside");
    EXPECT_CONTAINS(message_of<base::Error>([&] { Dataset dataset(folder()); }), (folder() / name).string());
    fs::rename(folder_ / "aside", folder() / name);
  }
  EXPECT_FALSE(refused("nothing"));
}

/// Rewrites the manifest with one change.
template <class Change>
void change_manifest(const fs::path& folder, int version, const char* format, const Change& change) {
  base::Json manifest = base::load_document(folder / kManifestName, kDatasetFormat, kDatasetVersion);
  change(manifest);
  base::save_document(folder / kManifestName, format, version, manifest);
}

TEST_F(DatasetDamage, ANewerVersionAndAnotherFormatAreRefused) {
  const auto nothing = [](base::Json&) {};
  change_manifest(folder(), kDatasetVersion + 1, kDatasetFormat, nothing);
  EXPECT_CONTAINS(message_of<base::FileError>([&] { Dataset dataset(folder()); }), "newer");
  write_rows(folder(), ragged_rows(40));
  change_manifest(folder(), 1, "decant-labels", nothing);
  EXPECT_CONTAINS(message_of<base::FileError>([&] { Dataset dataset(folder()); }), "decant-labels");
}

TEST_F(DatasetDamage, AManifestThatContradictsTheFilesIsRefused) {
  const std::vector<std::function<void(base::Json&)>> changes{
      [](base::Json& m) { m["rows"] = 41; },
      [](base::Json& m) { m["rows"] = 39; },
      [](base::Json& m) { m["rows"] = 0; },
      [](base::Json& m) { m["rows"] = "40"; },
      [](base::Json& m) { m["items"] = 49; },
      [](base::Json& m) { m["items"] = 51; },
      [](base::Json& m) { m["events"] = m["events"].get<int>() + 1; },
      [](base::Json& m) { m["split"] = "temporal"; },
      [](base::Json& m) { m["part_rows"] = 100; },
      [](base::Json& m) { m["part_rows"] = 0; },
      [](base::Json& m) { m.erase("parts"); },
      [](base::Json& m) { m["parts"] = "none"; },
      [](base::Json& m) { m["parts"][0]["first_row"] = 1; },
      [](base::Json& m) { m["parts"][0]["rows"] = 1000; },
      [](base::Json& m) { m["parts"][0]["events"] = 3; },
      [](base::Json& m) { m["parts"][0]["file"] = "part-00001.h5"; },
      [](base::Json& m) { m["parts"].push_back(m["parts"][0]); },
      [](base::Json& m) { m.erase("content_hash"); },
      [](base::Json& m) { m.erase("catalogue"); },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    write_rows(folder(), ragged_rows(40));
    change_manifest(folder(), 1, kDatasetFormat, changes[i]);
    EXPECT_TRUE(refused("change " + std::to_string(i)));
  }
}

TEST_F(DatasetDamage, InspectionComparesHashes) {
  EXPECT_EQ(inspect_dataset(folder())["verified"], true);
  for (const char* hash : {"content_hash", "catalogue_hash"}) {
    write_rows(folder(), ragged_rows(40));
    change_manifest(folder(), 1, kDatasetFormat, [&](base::Json& m) { m[hash] = "0123456789abcdef"; });
    EXPECT_CONTAINS(message_of<DataError>([&] { (void)inspect_dataset(folder()); }), "hash");
  }
}

TEST_F(DatasetDamage, InspectionReadsTheUsersToo) {
  const fs::path path = folder() / "part-00000.h5";
  const std::string bytes = bytes_of(path);
  const std::size_t at = bytes.find("u0u1u2u3");
  ASSERT_NE(at, std::string::npos);
  poke(path, at + 3, '9');
  EXPECT_FALSE(refused("users are not read"));
  EXPECT_CONTAINS(message_of<DataError>([&] { (void)inspect_dataset(folder()); }), "/sequences/user/values");
}

TEST_F(DatasetDamage, WhatInspectionPassesIsWhole) {
  const auto all_users = [&] {
    std::vector<std::string> out;
    DatasetReader reader(folder(), 1 << 20);
    const TextColumn users = reader.users(0);
    for (std::int64_t i = 0; i < users.size(); ++i) out.emplace_back(users.at(i));
    return out;
  };
  const auto users = all_users();
  std::size_t found = 0, tried = 0;
  for (const char* name : {"part-00000.h5", "catalogue.h5"}) {
    const fs::path path = folder() / name;
    const std::string bytes = bytes_of(path);
    for (std::size_t at = 0; at < bytes.size(); at += 3, ++tried) {
      poke(path, at, static_cast<char>(bytes[at] ^ 0x10));
      try {
        (void)inspect_dataset(folder());
        EXPECT_EQ(all_users(), users) << name << ", byte " << at;
        EXPECT_EQ(read_everything(folder()), whole_) << name << ", byte " << at;
      } catch (const base::Error& error) {
        EXPECT_EQ(error.code(), base::ExitCode::kData);
        EXPECT_CONTAINS(error.what(), path.string());
        ++found;
      }
      poke(path, at, bytes[at]);
    }
  }
  EXPECT_GT(found, tried / 3);
}

/// Files by another program's hand: well-formed HDF5, wrong content.
class ForeignPart : public DatasetDamage {
 protected:
  /// Writes a part with these columns over the real one, and makes its size the manifest's.
  template <class Values, class Offsets>
  void write_part(const std::vector<Values>& values, const std::vector<Offsets>& offsets, std::int64_t chunk = 64) {
    const fs::path path = folder() / "part-00000.h5";
    Hdf5File file = Hdf5File::create(path);
    file.make_group("/sequences/items");
    file.set_number("/sequences", "first_row", 0);
    file.set_number("/sequences", "rows", 40);
    file.write("/sequences/items/values", std::span<const Values>(values), 0, chunk);
    file.write("/sequences/items/offsets", std::span<const Offsets>(offsets), 0, chunk);
    file.close();
    change_manifest(folder(), 1, kDatasetFormat, [&](base::Json& manifest) {
      manifest["parts"][0]["bytes"] = fs::file_size(path);
      manifest["parts"][0]["events"] = values.size();
      manifest["events"] = values.size();
    });
  }
  [[nodiscard]] std::string why() const {
    return message_of<DataError>([&] { (void)read_everything(folder()); });
  }
  std::vector<std::uint64_t> steps_of_two() const {
    std::vector<std::uint64_t> offsets(41);
    for (std::size_t i = 0; i < offsets.size(); ++i) offsets[i] = 2 * i;
    return offsets;
  }
};

TEST_F(ForeignPart, GoodOnesAreRead) {
  write_part(std::vector<std::uint32_t>(80, 3), steps_of_two());
  EXPECT_EQ(read_everything(folder()).lengths, std::vector<std::int64_t>(40, 2));
}

TEST_F(ForeignPart, ItemsOutsideTheCatalogueAreNamed) {
  std::vector<std::uint32_t> values(80, 3);
  values[35] = 50;
  write_part(values, steps_of_two());
  EXPECT_CONTAINS(why(), "/sequences/items/values, row 17: item 50 is not in the catalogue of 50");
}

TEST_F(ForeignPart, OffsetsMustRise) {
  std::vector<std::uint64_t> offsets = steps_of_two();
  offsets[8] = 3;
  write_part(std::vector<std::uint32_t>(80, 3), offsets);
  EXPECT_CONTAINS(why(), "/sequences/items/offsets, row 7: offsets must rise");
  offsets = steps_of_two();
  offsets.back() = 81;
  write_part(std::vector<std::uint32_t>(80, 3), offsets);
  EXPECT_CONTAINS(why(), "from 0 to 80");
  offsets = steps_of_two();
  offsets.front() = 1;
  write_part(std::vector<std::uint32_t>(80, 3), offsets);
  EXPECT_CONTAINS(why(), "from 0 to 80");
  offsets = steps_of_two();
  offsets.pop_back();
  write_part(std::vector<std::uint32_t>(80, 3), offsets);
  EXPECT_CONTAINS(why(), "holds 40 entries where 41 belong");
}

TEST_F(ForeignPart, ElementTypesAreNotConvertedSilently) {
  write_part(std::vector<float>(80, 3.5F), steps_of_two());
  EXPECT_CONTAINS(why(), "32-bit floats where unsigned 32-bit integers belong");
  write_part(std::vector<std::uint32_t>(80, 3), std::vector<std::uint32_t>(41, 2));
  EXPECT_CONTAINS(why(), "unsigned 32-bit integers where unsigned 64-bit integers belong");
}

}  // namespace
}  // namespace decant::data
