#include "trainer/svg_chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <sstream>

namespace decant::trainer {
namespace {

constexpr double kWidth = 560, kHeight = 300, kLeft = 62, kRight = 16, kTop = 16, kBottom = 44;

std::string number(double value, const char* format = "%.1f") {
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

/// 1, 2 or 5 times a power of ten, so that about five steps cover `span`.
double tick_step(double span) {
  const double raw = span / 5, power = std::pow(10.0, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (raw <= factor * power) return factor * power;
  return 10 * power;
}

class Axis {
 public:
  Axis(double low, double high, double from, double to, bool log) : from_(from), to_(to), log_(log) {
    low_ = of(low), high_ = of(high);
    const double room = high_ > low_ ? 0.06 * (high_ - low_) : std::max(1e-9, 0.1 * std::abs(high_));
    low_ -= room, high_ += room;
    if (!log && low >= 0 && low_ < 0) low_ = 0;
  }
  [[nodiscard]] double at(double value) const { return from_ + (of(value) - low_) / (high_ - low_) * (to_ - from_); }
  [[nodiscard]] std::vector<double> ticks() const {
    std::vector<double> out;
    if (log_) {
      const bool close = high_ - low_ < 1;  // less than a factor of ten
      for (auto power = static_cast<int>(std::floor(low_)); power <= high_; ++power)
        for (const double factor : {1.0, 2.0, 3.0, 5.0, 7.0})
          if (const double value = factor * std::pow(10.0, power);
              (close || factor == 1 || factor == 3) && of(value) >= low_ && of(value) <= high_)
            out.push_back(value);
      return out;
    }
    const double step = tick_step(high_ - low_);
    const auto first = static_cast<std::int64_t>(std::ceil(low_ / step));
    for (std::int64_t i = first; static_cast<double>(i) * step <= high_ + 1e-9 * step; ++i)
      out.push_back(static_cast<double>(i) * step);
    return out;
  }

 private:
  [[nodiscard]] double of(double value) const { return log_ ? std::log10(value) : value; }
  double from_, to_, low_ = 0, high_ = 1;
  bool log_;
};

void text(std::ostream& out, double x, double y, const char* anchor, const std::string& what, const char* more = "") {
  out << "<text x=\"" << number(x) << "\" y=\"" << number(y) << "\" text-anchor=\"" << anchor << "\"" << more << ">"
      << escaped(what) << "</text>";
}

void draw_frame(std::ostream& out, const Chart& chart, const Axis& x, const Axis& y) {
  for (const double tick : y.ticks()) {
    const double at = y.at(tick);
    out << "<line class=\"grid\" x1=\"" << kLeft << "\" x2=\"" << kWidth - kRight << "\" y1=\"" << number(at)
        << "\" y2=\"" << number(at) << "\"/>";
    text(out, kLeft - 6, at + 4, "end", short_number(tick));
  }
  for (const double tick : x.ticks()) text(out, x.at(tick), kHeight - kBottom + 18, "middle", short_number(tick));
  text(out, (kLeft + kWidth - kRight) / 2, kHeight - 6, "middle", chart.x_label);
  out << "<text transform=\"translate(12 " << (kTop + kHeight - kBottom) / 2
      << ") rotate(-90)\" text-anchor=\"middle\">" << escaped(chart.y_label) << "</text>";
}

void draw_series(std::ostream& out, const Series& series, const Chart& chart, const Axis& x, const Axis& y) {
  const std::string colour = "s" + std::to_string(series.colour);
  if (chart.lines) {
    out << "<polyline class=\"line " << colour << "\" points=\"";
    for (const auto& [px, py] : series.points) out << number(x.at(px)) << "," << number(y.at(py)) << " ";
    out << "\"/>";
    if (series.points.size() > 1) return;
  }
  for (const auto& [px, py] : series.points) {
    out << "<circle class=\"dot " << colour << "\" r=\"5\" cx=\"" << number(x.at(px)) << "\" cy=\"" << number(y.at(py))
        << "\"/>";
    if (chart.lines) continue;
    const bool right = x.at(px) < 0.75 * kWidth;
    // Dots may lie close to each other: neighbours have their names at other heights.
    const double aside = 4 - 10 * ((series.colour + 1) % 3 - 1);
    text(out, x.at(px) + (right ? 9 : -9), y.at(py) + aside, right ? "start" : "end", series.name);
  }
}

void draw_legend(std::ostream& out, const Chart& chart) {
  out << "<figcaption>" << escaped(chart.title);
  if (chart.lines)
    for (const auto& series : chart.series)
      if (!series.points.empty())
        out << " <span class=\"entry\"><span class=\"key s" << series.colour << "\"></span>" << escaped(series.name)
            << "</span>";
  out << "</figcaption>";
}

}  // namespace

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  return out;
}

std::string short_number(double value) {
  struct Unit {
    double from;
    const char* name;
  };
  constexpr std::array kUnits{Unit{1e9, " G"}, Unit{1e6, " M"}, Unit{1e4, " k"}};
  char text[32];
  for (const auto& unit : kUnits)
    if (std::abs(value) >= unit.from) {
      std::snprintf(text, sizeof text, "%.3g%s", value / (unit.from == 1e4 ? 1e3 : unit.from), unit.name);
      return text;
    }
  std::snprintf(text, sizeof text, std::abs(value) < 1 ? "%.3g" : "%.4g", value);
  return text;
}

std::string svg_chart(const Chart& chart) {
  std::vector<double> xs, ys;
  for (const auto& series : chart.series)
    for (const auto& [x, y] : series.points) xs.push_back(x), ys.push_back(y);
  if (xs.empty()) return "";
  for (const auto& level : chart.levels) ys.push_back(level.points.front().second);
  const auto [x_low, x_high] = std::minmax_element(xs.begin(), xs.end());
  const auto [y_low, y_high] = std::minmax_element(ys.begin(), ys.end());
  const Axis x(*x_low, *x_high, kLeft, kWidth - kRight, chart.log_x);
  const Axis y(*y_low, *y_high, kHeight - kBottom, kTop, false);
  std::ostringstream out;
  out << "<figure><svg viewBox=\"0 0 " << kWidth << " " << kHeight << "\" role=\"img\" aria-label=\""
      << escaped(chart.title) << "\">";
  draw_frame(out, chart, x, y);
  for (const auto& level : chart.levels) {
    const double at = y.at(level.points.front().second);
    out << "<line class=\"level s" << level.colour << "\" x1=\"" << kLeft << "\" x2=\"" << kWidth - kRight << "\" y1=\""
        << number(at) << "\" y2=\"" << number(at) << "\"/>";
    text(out, (kLeft + kWidth) / 2, at - 4, "middle", level.name);
  }
  for (const auto& series : chart.series) draw_series(out, series, chart, x, y);
  out << "</svg>";
  draw_legend(out, chart);
  out << "</figure>\n";
  return out.str();
}

}  // namespace decant::trainer
