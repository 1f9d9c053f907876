#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "base/errors.h"
#include "base/files.h"
#include "base/hash.h"

namespace decant::base {
namespace {

class Documents : public testing::Test {
 protected:
  Documents() {
    std::string pattern = (fs::temp_directory_path() / "decant-documents-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    path_ = folder_ / "manifest.json";
  }
  ~Documents() override { fs::remove_all(folder_); }

  [[nodiscard]] std::string load_error(int newest = 2) const {
    try {
      (void)load_document(path_, "things", newest);
    } catch (const FileError& error) {
      return error.what();
    }
    return "";
  }
  void expect_error(const std::string& part, int newest = 2) const {
    const std::string message = load_error(newest);
    EXPECT_NE(message.find(part), std::string::npos) << "'" << message << "' lacks '" << part << "'";
    EXPECT_EQ(message.find(path_.string()), 0u) << message;
  }

  fs::path folder_, path_;
};

/// Without the sync of write_file: these tests write thousands of files.
void put(const fs::path& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

Json sample() {
  return Json{{"name", "a \"checksum\": \"0123456789abcdef\" inside"},
              {"values", {1, 2.5, -1e-300, 1e300, 18446744073709551615ull}},
              {"empty", Json::object()},
              {"text", "ünïcode"}};
}

TEST_F(Documents, RoundTrip) {
  save_document(path_, "things", 2, sample());
  Json loaded = load_document(path_, "things", 2);
  EXPECT_EQ(loaded["format"], "things");
  EXPECT_EQ(loaded["version"], 2);
  EXPECT_FALSE(loaded.contains("checksum"));
  save_document(path_, "things", 1, loaded);  // what was loaded can be saved again
  loaded = load_document(path_, "things", 2);
  EXPECT_EQ(loaded["version"], 1);
  loaded.erase("format");
  loaded.erase("version");
  EXPECT_EQ(loaded, sample());
}

TEST_F(Documents, KeysKeepTheirOrder) {
  save_document(path_, "things", 1, Json{{"z", 1}, {"a", 2}});
  const Json loaded = load_document(path_, "things", 1);
  std::string keys;
  for (const auto& [key, value] : loaded.items()) keys += key + " ";
  EXPECT_EQ(keys, "format version z a ");
}

TEST_F(Documents, EveryFlippedBitIsFound) {
  save_document(path_, "things", 2, sample());
  const std::string good = read_file(path_);
  for (std::size_t i = 0; i < good.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ (1 << bit));
      put(path_, bad);
      ASSERT_NE(load_error(), "") << "byte " << i << " bit " << bit << " of\n" << bad;
    }
}

TEST_F(Documents, EveryCutIsFound) {
  save_document(path_, "things", 2, sample());
  const std::string good = read_file(path_);
  for (std::size_t size = 0; size < good.size(); ++size) {
    put(path_, good.substr(0, size));
    ASSERT_NE(load_error(), "") << size;
  }
  put(path_, good + "\n");
  EXPECT_NE(load_error(), "");
}

TEST_F(Documents, ErrorsSayWhatIsWrong) {
  expect_error("No such file or directory");
  put(path_, "{");
  expect_error("not a JSON object");
  put(path_, "[]");
  expect_error("not a JSON object");
  put(path_, R"({"format": "things", "version": 1})");
  expect_error("no checksum");
  save_document(path_, "other", 1, Json::object());
  expect_error(R"(its format is "other", expected "things")");
  save_document(path_, "things", 3, Json::object());
  expect_error("newer decant (its version is 3, this program reads up to 2)");
  save_document(path_, "things", 0, Json::object());
  expect_error("positive integer");
  save_document(path_, "things", 2, Json::object());
  EXPECT_EQ(load_error(), "");
}

// Any program may write one: its own way of printing JSON, "checksum" last, hashed with 16 zeros in its place.
TEST_F(Documents, AnotherPrinterIsAccepted) {
  const std::string zeros = R"({"x":1e-05,"version":1,"format":"things","checksum":"0000000000000000"})";
  std::string text = zeros;
  text.replace(text.find("0000000000000000"), 16, hash_hex(zeros));
  put(path_, text);
  EXPECT_EQ(load_error(), "");
  EXPECT_EQ(load_document(path_, "things", 1)["x"], 1e-5);
}

TEST_F(Documents, WhatIsNoJsonIsNotWritten) {
  EXPECT_THROW(save_document(path_, "things", 1, Json{{"name", "\xff"}}), FileError);
  EXPECT_THROW(save_document(path_, "things", 1, Json::array()), FileError);
  EXPECT_FALSE(fs::exists(path_));
}

}  // namespace
}  // namespace decant::base
