#include "models/weights_file.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "base/files.h"

namespace decant::models {
namespace {

namespace fs = std::filesystem;
using base::FileError;

class WeightsFileTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("decant-weights-" + std::to_string(::getpid()));
    fs::create_directories(folder_);
    path_ = folder_ / "w.safetensors";
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// A file of these header and data bytes.
  void write_raw(const std::string& header, const std::string& data = "") {
    const std::uint64_t length = header.size();
    write_bytes(std::string(reinterpret_cast<const char*>(&length), 8) + header + data);
  }
  void write_bytes(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  std::string why() {
    try {
      (void)load_weights(path_);
    } catch (const FileError& error) {
      return error.what();
    }
    return "";
  }

  fs::path folder_, path_;
};

NamedTensors samples() {
  torch::manual_seed(0);
  return {{"b.half", torch::randn({3}).to(torch::kHalf)},
          {"a.float", torch::randn({2, 3})},
          {"z.brain", torch::randn({5}).to(torch::kBFloat16)},
          {"counts", torch::arange(4)},
          {"bytes", torch::arange(3, torch::kByte)},
          {"flags", torch::tensor({true, false, true})},
          {"double", torch::randn({1}, torch::kDouble)},
          {"scalar", torch::tensor(2.5f)},
          {"empty", torch::empty({0, 4})},
          {"small", torch::arange(2, torch::kShort)}};
}

bool same(const torch::Tensor& a, const torch::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() && torch::equal(a, b);
}

TEST_F(WeightsFileTest, RoundTrip) {
  const NamedTensors written = samples();
  save_weights(path_, written, {{"model", "sasrec"}, {"note", "a \"quoted\" line\nand ünïcode"}});
  const WeightsFile read = load_weights(path_);
  ASSERT_EQ(read.tensors.size(), written.size());
  const std::map<std::string, torch::Tensor> found(read.tensors.begin(), read.tensors.end());
  for (const auto& [name, tensor] : written) {
    ASSERT_TRUE(found.contains(name)) << name;
    EXPECT_TRUE(same(found.at(name), tensor)) << name;
  }
  EXPECT_EQ(read.metadata.at("model"), "sasrec");
  EXPECT_EQ(read.metadata.at("note"), "a \"quoted\" line\nand ünïcode");
  EXPECT_EQ(read.metadata.at("xxh3").size(), 16u);
  // Larger elements first, so that every tensor is aligned.
  for (std::size_t i = 1; i < read.tensors.size(); ++i) {
    EXPECT_GE(read.tensors[i - 1].second.element_size(), read.tensors[i].second.element_size());
  }
}

TEST_F(WeightsFileTest, SameContentSameBytes) {
  NamedTensors tensors = samples();
  save_weights(path_, tensors, {{"a", "1"}, {"b", "2"}});
  const std::string first = base::read_file(path_);
  std::reverse(tensors.begin(), tensors.end());
  save_weights(path_, tensors, load_weights(path_).metadata);  // an old hash is replaced
  EXPECT_EQ(base::read_file(path_), first);
  EXPECT_EQ(first.size() % 8, (24 + 6 + 10 + 32 + 3 + 3 + 8 + 4 + 4) % 8u);
}

TEST_F(WeightsFileTest, StridedTensorsAreWrittenInOrder) {
  const torch::Tensor x = torch::randn({3, 4});
  save_weights(path_, {{"t", x.t()}}, {});
  EXPECT_TRUE(torch::equal(load_weights(path_).tensors[0].second, x.t()));
}

TEST_F(WeightsFileTest, NothingAtAll) {
  save_weights(path_, {}, {});
  EXPECT_TRUE(load_weights(path_).tensors.empty());
}

// In place and by resizing: rewriting a whole file thousands of times is slow on some file systems.
TEST_F(WeightsFileTest, EveryFlippedBitIsAnError) {
  save_weights(path_, samples(), {{"model", "sasrec"}, {"dim", "64"}});
  const std::string whole = base::read_file(path_);
  std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
  const auto put = [&file](std::size_t at, int byte) {
    file.seekp(static_cast<std::streamoff>(at)).put(static_cast<char>(byte)).flush();
  };
  for (std::size_t i = 0; i < whole.size(); ++i) {
    for (const int mask : {1, 2, 4, 8, 16, 32, 64, 128, 255}) {
      put(i, whole[i] ^ mask);
      EXPECT_THROW((void)load_weights(path_), FileError) << "byte " << i << " ^ " << mask;
    }
    put(i, whole[i]);
  }
  EXPECT_EQ(load_weights(path_).tensors.size(), samples().size());
}

TEST_F(WeightsFileTest, EveryTruncationAndAnyExtensionIsAnError) {
  save_weights(path_, samples(), {});
  const std::string whole = base::read_file(path_);
  for (std::size_t length = whole.size(); length-- > 0;) {
    fs::resize_file(path_, length);
    EXPECT_THROW((void)load_weights(path_), FileError) << length;
  }
  write_bytes(whole + "x");
  EXPECT_THROW((void)load_weights(path_), FileError);
  fs::remove(path_);
  EXPECT_NE(why().find(path_.string()), std::string::npos);
  fs::create_directory(path_);
  EXPECT_THROW((void)load_weights(path_), FileError);
}

TEST_F(WeightsFileTest, ForeignFilesNeedNoHash) {
  const std::string data(8, '\0');
  write_raw(R"( {"x" : {"shape":[2], "data_offsets":[0, 8], "dtype":"F32"}}   )", data);
  const WeightsFile file = load_weights(path_);
  EXPECT_TRUE(torch::equal(file.tensors.at(0).second, torch::zeros({2})));
  // Not aligned, in any order.
  write_raw(
      R"({"f":{"dtype":"F32","shape":[1],"data_offsets":[2,6]},"h":{"dtype":"BF16","shape":[],"data_offsets":[0,2]}})",
      std::string(6, '\0'));
  EXPECT_EQ(load_weights(path_).tensors.at(0).first, "h");
}

TEST_F(WeightsFileTest, ImpossibleHeadersAreErrors) {
  const std::string data(8, '\0');
  const std::vector<std::string> headers{
      "",
      "   ",
      "null",
      "[]",
      "7",
      "\"x\"",
      "{",
      "{\"x\":1}",
      "{\"x\":{}}",
      "{\"x\":null}",
      "\xff\xfe{}",
      R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":1}})",
      R"({"x":{"dtype":"F99","shape":[2],"data_offsets":[0,8]}})",
      R"({"x":{"dtype":7,"shape":[2],"data_offsets":[0,8]}})",
      R"({"x":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})",
      R"({"x":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})",
      R"({"x":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})",
      R"({"x":{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}})",
      R"({"x":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})",
      R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8,9]}})",
      R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})",
      R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
      R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}})",
      R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
      R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
      R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"y":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
      R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"y":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
      R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
      R"({"x":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})",
      R"({"x":{"dtype":"F32","shape":[4611686018427387904,0],"data_offsets":[0,0]}})",
      R"({"x":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]}})",
      R"({"x":{"dtype":"F32","shape":[1e30],"data_offsets":[0,8]}})",
      R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,99999999999999999999]}})",
      R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"a":1}})",
      R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":["a"]})",
      R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"xxh3":"0"}})",
      R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"writer":"decant"}})",
      std::string(100000, '['),
      "{\"x\":" + std::string(100000, '[')};
  for (const std::string& header : headers) {
    write_raw(header, data);
    EXPECT_THROW((void)load_weights(path_), FileError) << header.substr(0, 200);
  }
  write_raw(R"({"x":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}})", "\x02");
  EXPECT_THROW((void)load_weights(path_), FileError);
  write_bytes(std::string(8, '\xff') + "{}");
  EXPECT_NE(why().find("header"), std::string::npos);
}

TEST_F(WeightsFileTest, WhatCannotBeWrittenIsAnError) {
  const torch::Tensor x = torch::zeros({1});
  EXPECT_THROW(save_weights(path_, {{"x", x}, {"x", x}}, {}), FileError);
  EXPECT_THROW(save_weights(path_, {{"__metadata__", x}}, {}), FileError);
  EXPECT_THROW(save_weights(path_, {{"x", x.to(torch::kComplexFloat)}}, {}), FileError);
  EXPECT_THROW(save_weights(path_, {{"\xff", x}}, {}), FileError);
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(WeightsFileTest, CopiesByNameOrNamesWhatDiffers) {
  const torch::Tensor a = torch::randn({2, 3}), b = torch::randn({4});
  save_weights(path_, {{"a", a}, {"b", b}}, {});
  const WeightsFile file = load_weights(path_);
  const auto complaint = [&](const NamedTensors& targets) -> std::string {
    try {
      copy_weights(file, path_, targets);
    } catch (const FileError& error) {
      return error.what();
    }
    return "";
  };
  torch::Tensor to_a = torch::zeros({2, 3}).requires_grad_(), to_b = torch::zeros({4});
  EXPECT_NE(complaint({{"a", to_a}, {"c", to_b}}).find("no tensor 'c'"), std::string::npos);
  EXPECT_NE(complaint({{"a", to_a}}).find("'b' that is not wanted"), std::string::npos);
  EXPECT_NE(complaint({{"a", to_a}, {"b", torch::zeros({5})}}).find("Float[4], not Float[5]"), std::string::npos);
  EXPECT_NE(complaint({{"a", to_a}, {"b", torch::zeros({4}, torch::kHalf)}}).find("not Half[4]"), std::string::npos);
  EXPECT_EQ(to_a.abs().sum().item<double>(), 0);
  EXPECT_EQ(complaint({{"b", to_b}, {"a", to_a}}), "");
  EXPECT_TRUE(torch::equal(to_a, a));
  EXPECT_TRUE(torch::equal(to_b, b));
}

// Needs the project's virtual environment.
TEST_F(WeightsFileTest, PythonReadsOursAndWeReadPythons) {
  const std::string python = DECANT_SOURCE_DIR "/.venv/bin/python";
  if (!fs::exists(python)) GTEST_SKIP() << "no " << python;
  const fs::path script = folder_ / "check.py";
  std::ofstream(script) << R"(
import sys
try:
    import numpy
    from safetensors import safe_open
    from safetensors.numpy import save_file
except ImportError as error:
    print(error); sys.exit(77)
ours, theirs = sys.argv[1:]
with safe_open(ours, 'np') as file:
    assert file.metadata()['model'] == 'sasrec', file.metadata()
    tensors = {name: file.get_tensor(name) for name in file.keys() if name != 'z.brain'}
    assert 'z.brain' in file.keys()
assert tensors['counts'].tolist() == [0, 1, 2, 3] and tensors['scalar'] == 2.5 and tensors['empty'].shape == (0, 4)
assert tensors['flags'].tolist() == [True, False, True] and tensors['a.float'].shape == (2, 3)
save_file(tensors, theirs, metadata={'by': 'python'})
)";
  const NamedTensors written = samples();
  save_weights(path_, written, {{"model", "sasrec"}});
  const fs::path theirs = folder_ / "theirs.safetensors";
  const int status =
      std::system((python + " " + script.string() + " " + path_.string() + " " + theirs.string()).c_str());
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) GTEST_SKIP() << "no safetensors in the virtual environment";
  ASSERT_EQ(status, 0);
  const WeightsFile read = load_weights(theirs);
  EXPECT_EQ(read.metadata.at("by"), "python");
  const std::map<std::string, torch::Tensor> found(read.tensors.begin(), read.tensors.end());
  for (const auto& [name, tensor] : written) {
    if (name == "z.brain") continue;  // numpy has no such dtype
    EXPECT_TRUE(same(found.at(name), tensor)) << name;
  }
}

TEST(HashTensors, SeesNamesShapesDtypesAndBytes) {
  const torch::Tensor x = torch::arange(6, torch::kFloat);
  const std::string base = hash_tensors({{"x", x}});
  EXPECT_EQ(hash_tensors({{"x", x.clone()}}), base);
  EXPECT_NE(hash_tensors({{"y", x}}), base);
  EXPECT_NE(hash_tensors({{"x", x.view({2, 3})}}), base);
  EXPECT_NE(hash_tensors({{"x", x.view(torch::kInt)}}), base);
  torch::Tensor y = x.clone();
  y[5] += 1;
  EXPECT_NE(hash_tensors({{"x", y}}), base);
  EXPECT_NE(hash_tensors({{"x", x}, {"y", x}}), base);
}

}  // namespace
}  // namespace decant::models
