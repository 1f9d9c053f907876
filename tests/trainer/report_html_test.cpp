// report.html: whole, escaped, and without what is not there.
#include "trainer/report_html.h"

#include <gtest/gtest.h>

#include "tests/trainer/support.h"
#include "trainer/svg_chart.h"

namespace decant::trainer {
namespace {

base::Json side(double ndcg, std::int64_t parameters) {
  const base::Json metrics{{"recall@10", 2 * ndcg}, {"ndcg@10", ndcg}, {"mrr@10", ndcg / 2}};
  base::Json curve = base::Json::array();
  for (int epoch = 1; epoch <= 3; ++epoch)
    curve.push_back({{"epoch", epoch}, {"ndcg@10", ndcg * epoch / 3}, {"loss", {{"ce", 8.0 / epoch}}}});
  return {{"parameters", parameters},
          {"bytes", parameters * 4},
          {"metrics", {{"valid", metrics}, {"test", metrics}, {"valid_unseen", metrics}, {"test_unseen", metrics}}},
          {"train", {{"sequences_per_second", 100.5}, {"curve", curve}, {"steps", 30}, {"weights_hash", "abc"}}},
          {"fidelity", {{"valid_overlap@10", 0.5}}}};
}

base::Json baseline(double ndcg) {
  auto out = side(ndcg, 1);
  for (const char* key : {"parameters", "bytes", "fidelity"}) out[key] = nullptr;
  out["train"] = {{"curve", nullptr}, {"sequences_per_second", nullptr}};
  return out;
}

base::Json report() {
  const base::Json value{{"valid", {{"ndcg@10", 0.02}}}};
  return {
      {"decant", "1.2.3"},
      {"run", {{"seed", 7}, {"device", "cpu"}}},
      {"dataset", {{"rows", 22363}, {"items", 12101}, {"events", 198502}}},
      {"teacher", side(0.04, 1'000'000)},
      {"student", side(0.03, 250'000)},
      {"control", side(0.025, 250'000)},
      {"popularity", baseline(0.01)},
      {"transitions", nullptr},
      {"labels", {{"teacher", {{"kind", "topk"}, {"k", 100}}}}},
      {"segments",
       {{"metric", "ndcg@10"},
        {"by",
         {{"genre",
           {{{"value", "<b>R&B</b>"}, {"share", 0.25}, {"teacher", value}, {"student", value}, {"control", value}}}}}},
        {"student_loses_most", base::Json::array()}}},
      {"inference", nullptr},
      {"remarks", {"mind the <gap>"}}};
}

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t found = 0;
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++found;
  return found;
}

TEST(ReportHtml, SaysWhatWasKeptAndWhatWasGained) {
  const auto page = report_html(report(), "beauty");
  EXPECT_CONTAINS(page, "<b>75 %</b>of the teacher's NDCG@10 on test");
  EXPECT_CONTAINS(page, "<b>25 %</b>of its size: 250 k parameters instead of 1 M");
  EXPECT_CONTAINS(page, "<b>+20 %</b>against the same network");
  EXPECT_CONTAINS(page, "<td>popularity</td><td>0.0200</td><td>0.0100</td>");
  EXPECT_EQ(page.find("transitions</td>"), std::string::npos) << "it is not there";
  EXPECT_EQ(count(page, "<svg"), 5u) << "valid by epoch, quality against size, a loss chart a model";
  EXPECT_EQ(page, report_html(report(), "beauty")) << "the same bytes each time";
}

TEST(ReportHtml, IsOneFileAndNothingInItRuns) {
  auto named = report();
  named["remarks"].push_back("\"quoted\" & <script>alert(1)</script>");
  const auto page = report_html(named, "<i>name</i>");
  for (const char* outside : {"http:", "https:", "<script", "src=", "@import", "<i>", "<b>R", "<gap>"})
    EXPECT_EQ(page.find(outside), std::string::npos) << outside;
  EXPECT_CONTAINS(page, "<h1>&lt;i&gt;name&lt;/i&gt;</h1>");
  EXPECT_CONTAINS(page, "&lt;b&gt;R&amp;B&lt;/b&gt;");
  EXPECT_CONTAINS(page, "mind the &lt;gap&gt;");
  for (const char* tag : {"table", "tr", "svg", "figure", "div", "main"})
    EXPECT_EQ(count(page, std::string("<") + tag + ">") + count(page, std::string("<") + tag + " "),
              count(page, std::string("</") + tag + ">"))
        << tag;
}

TEST(ReportHtml, ShowsWhatBenchMeasured) {
  auto timed = report();
  const base::Json latency{{"total", {{"p50", 1234.0}, {"p99", 2345.0}}}};
  timed["inference"] = {{"sides", {{"student", {{"latency_us", latency}, {"users_per_second", 5000.0}}}}},
                        {"speed_gained", {{"student", {{"total", 7.5}}}}}};
  const auto page = report_html(timed, "timed");
  EXPECT_CONTAINS(page, "<b>7.5 ×</b>as fast as the teacher");
  EXPECT_CONTAINS(page, "<td>1234</td><td>2345</td><td>5000</td>");
  EXPECT_EQ(count(page, "<svg"), 6u);
}

/// The run of a single command: no side is there yet.
TEST(ReportHtml, StandsWithoutAnySide) {
  auto empty = report();
  for (const char* side : {"teacher", "student", "control", "labels"}) empty[side] = nullptr;
  empty["segments"]["by"] = {{"history", {{{"value", "1-4"}}}}};  // without a side there is no share
  const auto page = report_html(empty, "empty");
  EXPECT_EQ(count(page, "<svg"), 0u);
  EXPECT_EQ(count(page, "class=\"card\""), 0u);
  EXPECT_CONTAINS(page, "</html>");
}

TEST(SvgChart, PointsLieInTheFrame) {
  const Chart chart{"t", "x", "y", {{"a", {{1, 0.5}, {100, -3}, {50, 7}}}}};
  const auto svg = svg_chart(chart);
  const auto begin = svg.find("points=\"") + 8;
  std::istringstream points(svg.substr(begin, svg.find('"', begin) - begin));
  int found = 0;
  for (std::string point; points >> point; ++found) {
    const double x = std::stod(point), y = std::stod(point.substr(point.find(',') + 1));
    EXPECT_TRUE(x >= 62 && x <= 544 && y >= 16 && y <= 256) << point;
  }
  EXPECT_EQ(found, 3);
  EXPECT_EQ(svg_chart({"t", "x", "y", {}}), "");
  EXPECT_CONTAINS(svg_chart({"one value", "x", "y", {{"a", {{3, 3}}}}}), "<circle");
}

TEST(SvgChart, NumbersAreShort) {
  EXPECT_EQ(short_number(1234567), "1.23 M");
  EXPECT_EQ(short_number(22363), "22.4 k");
  EXPECT_EQ(short_number(1500), "1500");
  EXPECT_EQ(short_number(0.04213), "0.0421");
  EXPECT_EQ(short_number(-12'000'000'000), "-12 G");
  EXPECT_EQ(short_number(0), "0");
}

}  // namespace
}  // namespace decant::trainer
