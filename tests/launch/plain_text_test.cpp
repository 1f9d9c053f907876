#include "launch/plain_text.h"

#include <gtest/gtest.h>

namespace decant::launch {
namespace {

using base::Json;

TEST(PlainText, OneLineAValue) {
  EXPECT_EQ(plain_text(Json::parse(R"({"a": 1, "long": "x y", "none": null, "list": [1, "b"]})")),
            "a     1\nlong  x y\nnone  -\nlist  1, b\n");
}

TEST(PlainText, MapsAreIndented) {
  EXPECT_EQ(plain_text(Json::parse(R"({"a": {"b": {"c": true}}, "d": 2})")), "a\n  b\n    c  true\nd  2\n");
}

TEST(PlainText, ListsOfMapsAlikeAreTables) {
  EXPECT_EQ(plain_text(Json::parse(
                R"({"stages": [{"stage": "import", "does": "run"}, {"stage": "labels", "does": "skip"}]})")),
            "stages\n  stage   does\n  import  run\n  labels  skip\n");
}

TEST(PlainText, OtherListsAreWrittenOneByOne) {
  EXPECT_EQ(plain_text(Json::parse(R"([{"a": 1}, {"b": 2}])")), "a  1\nb  2\n");
}

TEST(PlainText, BytesThatAreNoUtf8DoNoHarm) {
  Json tree = Json::object();
  tree["name"] = "\xff";
  EXPECT_EQ(plain_text(tree), "name  \xff\n");
}

}  // namespace
}  // namespace decant::launch
