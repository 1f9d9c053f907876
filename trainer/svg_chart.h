// Line and dot charts as SVG text, for report.html. Colours and fonts are the page's: classes s0, s1, ... by series.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace decant::trainer {

struct Series {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x, y
  int colour = 0;
};

struct Chart {
  std::string title, x_label, y_label;
  std::vector<Series> series;
  bool lines = true;                // else dots with their series' names beside them
  bool log_x = false;               // REQUIRES: every x above 0
  std::vector<Series> levels = {};  // dashed lines across, at the y of their first point
};

/// Of fixed proportions, as wide as its place. Empty where no series has a point. Text is escaped.
[[nodiscard]] std::string svg_chart(const Chart& chart);

/// For text and attributes of HTML.
[[nodiscard]] std::string escaped(const std::string& text);

/// "1234567" as "1.23 M", "0.0421" as it is: three or four digits that a reader can compare.
[[nodiscard]] std::string short_number(double value);

}  // namespace decant::trainer
