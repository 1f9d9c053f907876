// The teacher gate: whom the teacher must beat, and what is said when it does not.
#include "trainer/gate.h"

#include <gtest/gtest.h>

#include "tests/trainer/support.h"

namespace decant::trainer {
namespace {

base::Json values(double teacher, double popularity, double transitions, const base::Json& control) {
  return {{"metric", "ndcg@10"},
          {"teacher", teacher},
          {"popularity", popularity},
          {"transitions", transitions},
          {"control", control}};
}

TEST(Gate, OpenAboveAllAndAtEqual) {
  EXPECT_EQ(gate_verdict(values(0.3, 0.1, 0.2, 0.25)), "");
  EXPECT_EQ(gate_verdict(values(0.3, 0.3, 0.3, 0.3)), "");
  EXPECT_EQ(gate_verdict(values(0.3, 0.1, 0.2, nullptr)), "") << "no control there yet";
}

TEST(Gate, NamesEverythingThatIsAbove) {
  EXPECT_EQ(gate_verdict(values(0.3, 0.4, 0.2, 0.25)),
            "the teacher is below popularity (0.3000 against 0.4000) on valid ndcg@10");
  const auto all = gate_verdict(values(0.1, 0.2, 0.3, 0.4));
  for (const auto* part :
       {"popularity (0.1000 against 0.2000)", "transitions (0.1000 against 0.3000)", "control (0.1000 against 0.4000)"})
    EXPECT_CONTAINS(all, part);
}

}  // namespace
}  // namespace decant::trainer
