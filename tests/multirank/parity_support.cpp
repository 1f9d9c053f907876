#include "tests/multirank/parity_support.h"

#include <gtest/gtest.h>
#include <stdlib.h>  // NOLINT: mkdtemp

#include <cmath>
#include <cstdio>
#include <fstream>
#include <limits>

namespace decant::multirank {
namespace {

double largest(const torch::Tensor& a, const torch::Tensor& b) {
  return a.numel() == 0 ? 0 : (a - b).abs().max().item<double>();
}

}  // namespace

Place::Place(dist::Communicator& communicator, const fs::path& folder, int threads, const std::string& fault)
    : metrics("parity", communicator.rank()),
      progress(stderr, false),
      log(folder / "log", communicator.rank()),
      faults(fault, communicator.rank()),
      context{communicator, metrics, progress, log, faults, stop, threads} {}

void widen(double& widest, double gap) {
  widest = std::isnan(gap) ? std::numeric_limits<double>::infinity() : std::max(widest, gap);
}

Gap gap_of(const models::NamedTensors& a, const models::NamedTensors& b) {
  Gap gap;
  EXPECT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const std::string& name = a[i].first;
    const auto &here = a[i].second, &there = b[i].second;
    EXPECT_EQ(name, b[i].first);
    EXPECT_EQ(here.sizes(), there.sizes()) << name;
    if (name != b[i].first || here.sizes() != there.sizes()) continue;
    if (name.ends_with("qkv.bias")) {
      const auto apart = [&](std::int64_t part) { return largest(here.chunk(3)[part], there.chunk(3)[part]); };
      widen(gap.key_biases, apart(1));
      for (const std::int64_t part : {0, 2}) widen(gap.parameters, apart(part));
    } else {
      widen(gap.parameters, largest(here, there));
    }
  }
  return gap;
}

void expect_within_tolerance(const Gap& gap, const std::string& what) {
  EXPECT_LE(gap.parameters, kTolerance) << what;
  EXPECT_LE(gap.key_biases, kKeyBiasTolerance) << what;
}

void tell(const std::string& table, const std::string& row, const Gap& gap) {
  if (world().rank() != 0) return;
  std::printf("  %s, %s, %d ranks: parameters %.2g, keys' biases %.2g, losses %.2g\n", table.c_str(), row.c_str(),
              world().size(), gap.parameters, gap.key_biases, gap.losses);
  const char* file = std::getenv("DECANT_PARITY_RECORD");
  if (file == nullptr) return;
  std::ofstream out(file, std::ios::app);
  out << table << '\t' << row << '\t' << world().size() << '\t' << gap.parameters << '\t' << gap.key_biases << '\t'
      << gap.losses << '\n';
  EXPECT_TRUE(out.good()) << file;
}

fs::path make_shared_folder(const std::string& prefix) {
  std::string name = (fs::temp_directory_path() / (prefix + "-XXXXXX")).string();
  if (world().rank() == 0) {
    EXPECT_NE(::mkdtemp(name.data()), nullptr) << name;
  }
  return world().broadcast_bytes(name, 0);
}

void remove_shared_folder(const fs::path& folder) {
  world().barrier();
  if (world().rank() == 0) fs::remove_all(folder);
}

void alone(const std::function<void(dist::Communicator&)>& work) {
  if (world().rank() == 0) work(*dist::make_single_communicator(torch::kCPU));
  world().rendezvous();
}

}  // namespace decant::multirank
