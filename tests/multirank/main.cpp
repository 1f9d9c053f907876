// Runs the tests on every rank of an mpirun. A failure on any rank fails the test and the exit code of all.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <memory>

#include "tests/multirank/world.h"

namespace decant::multirank {

namespace {

struct World {
  dist::MpiSession session;
  std::unique_ptr<dist::Communicator> communicator = dist::make_mpi_communicator(session, {std::chrono::seconds(60)});
};
std::unique_ptr<World> the_world;  // NOLINT: tests reach it through the functions of world.h

/// Rank 0 prints the course of the tests, any rank its own failures.
class Printer final : public testing::EmptyTestEventListener {
 public:
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    here_ = true;
    std::cerr << "[rank " << session().rank() << "] " << (result.file_name() != nullptr ? result.file_name() : "")
              << ":" << result.line_number() << ": " << result.message() << std::endl;
  }
  void OnTestEnd(const testing::TestInfo& test) override {
    // Also keeps the ranks in step: one that left a test early does not run into the next.
    std::vector<std::int64_t> failures{here_ ? 1 : 0};
    try {
      world().all_reduce_host(failures, dist::Reduce::kSum);
    } catch (const std::exception& error) {
      std::cerr << "[rank " << session().rank() << "] after " << test.test_suite_name() << "." << test.name() << ": "
                << error.what() << std::endl;
      dist::MpiSession::abort(1);
    }
    here_ = false;
    failed_ = failed_ || failures[0] > 0;
    const bool skipped = test.result()->Skipped();
    skipped_ += skipped ? 1 : 0;
    if (session().rank() == 0)
      std::cout << (failures[0] > 0 ? "[ FAILED ] "
                    : skipped       ? "[SKIPPED ] "
                                    : "[     OK ] ")
                << test.test_suite_name() << "." << test.name() << " (" << test.result()->elapsed_time() << " ms"
                << (failures[0] > 0 ? ", on " + std::to_string(failures[0]) + " ranks" : "") << ")" << std::endl;
  }
  void OnTestProgramEnd(const testing::UnitTest& program) override {
    if (session().rank() == 0)
      std::cout << (failed_ ? "[ FAILED ] " : "[ PASSED ] ") << program.test_to_run_count() << " tests on "
                << session().size() << " ranks, " << skipped_ << " skipped" << std::endl;
  }

  bool here_ = false, failed_ = false;
  int skipped_ = 0;
};

/// A job started with another number of ranks than meant would pass without testing what it is for.
bool has_expected_ranks() {
  const char* expected = std::getenv("DECANT_EXPECT_RANKS");
  if (expected == nullptr || std::atoi(expected) == session().size()) return true;
  std::cerr << "expected " << expected << " ranks, MPI says " << session().size() << std::endl;
  return false;
}

}  // namespace

const dist::MpiSession& session() { return the_world->session; }
dist::Communicator& world() { return *the_world->communicator; }

int run(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  at::set_num_threads(1);  // ranks share the cores
  the_world = std::make_unique<World>();
  if (!has_expected_ranks()) return 1;
  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  delete listeners.Release(listeners.default_result_printer());
  auto* printer = new Printer;  // owned by googletest
  listeners.Append(printer);
  const int status = RUN_ALL_TESTS();
  const bool failed = printer->failed() || status != 0 || testing::UnitTest::GetInstance()->test_to_run_count() == 0;
  the_world.reset();
  return failed ? 1 : 0;
}

}  // namespace decant::multirank

int main(int argc, char** argv) { return decant::multirank::run(argc, argv); }
