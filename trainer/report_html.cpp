#include "trainer/report_html.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <set>
#include <sstream>
#include <vector>

#include "base/files.h"
#include "trainer/svg_chart.h"

namespace decant::trainer {
namespace {

using base::Json;

constexpr const char* kStyle = R"css(
:root{--ink:#1c2530;--soft:#5b6774;--paper:#fff;--card:#f5f7f9;--rule:#d9dfe5;--c0:#8a4fbf;--c1:#0b7a75;--c2:#c4551d;--c3:#6b7785;--c4:#2b62c4;--c5:#a88a00}
@media(prefers-color-scheme:dark){:root{--ink:#e8ecf0;--soft:#a3afbb;--paper:#12171c;--card:#1b2229;--rule:#323c46;--c0:#b98be6;--c1:#3fbfb8;--c2:#f08a55;--c3:#93a0ad;--c4:#7fa8f5;--c5:#d9bc3f}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1160px;margin:0 auto;padding:24px 16px 64px}h1{font-size:1.6rem;margin:0 0 .2em}h2{font-size:1.15rem;margin:2em 0 .6em}
p{margin:.4em 0;max-width:70ch}.soft,figcaption,small{color:var(--soft)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(210px,1fr));gap:12px;margin:20px 0}
.card{background:var(--card);border-radius:10px;padding:14px 16px}.card b{display:block;font-size:1.8rem;line-height:1.2}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:6px 8px;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}th:first-child,td:first-child{text-align:left}
thead th{color:var(--soft);font-weight:600;vertical-align:bottom;white-space:normal}.wide+.wide{margin-top:1.2em}
.facts td{text-align:left;white-space:normal;overflow-wrap:anywhere}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:16px}figure{margin:0;background:var(--card);border-radius:10px;padding:10px}
svg{width:100%;height:auto;display:block}svg text{fill:var(--soft);font:12px system-ui,sans-serif}.grid{stroke:var(--rule)}
.line{fill:none;stroke-width:2.2}.level{stroke-dasharray:5 4;stroke-width:1.4}figcaption{font-size:.9rem;padding:4px 6px}
.entry{white-space:nowrap}.key{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin:0 .3em 0 .9em}
.line.s0,.level.s0{stroke:var(--c0)}.line.s1,.level.s1{stroke:var(--c1)}.line.s2,.level.s2{stroke:var(--c2)}.line.s3,.level.s3{stroke:var(--c3)}.line.s4,.level.s4{stroke:var(--c4)}.line.s5,.level.s5{stroke:var(--c5)}
.dot.s0{fill:var(--c0)}.dot.s1{fill:var(--c1)}.dot.s2{fill:var(--c2)}.dot.s3{fill:var(--c3)}.dot.s4{fill:var(--c4)}.dot.s5{fill:var(--c5)}
.key.s0{background:var(--c0)}.key.s1{background:var(--c1)}.key.s2{background:var(--c2)}.key.s3{background:var(--c3)}.key.s4{background:var(--c4)}.key.s5{background:var(--c5)}
.note{border-left:4px solid var(--c2);padding:.3em .9em;background:var(--card)}dt{font-weight:600;margin-top:.6em}dd{margin:0;max-width:70ch}
)css";

struct Side {
  std::string name;
  const Json& entry;
  int colour;
};

/// Models and baselines of the report that are there, the teacher first.
std::vector<Side> sides_of(const Json& report, bool baselines) {
  std::vector<Side> out;
  const auto add = [&](const std::string& name, const Json& entry, int colour) {
    if (!entry.is_null()) out.push_back({name, entry, colour});
  };
  add("teacher", report.at("teacher"), 0);
  if (report.contains("teachers") && report.at("teachers").is_object())
    for (const auto& [name, entry] : report.at("teachers").items()) add(name, entry, 5);
  add("student", report.at("student"), 1);
  add("control", report.at("control"), 2);
  if (!baselines) return out;
  add("popularity", report.at("popularity"), 3);
  add("transitions", report.at("transitions"), 4);
  return out;
}

/// What lies at a path of keys, or null.
Json at(const Json& tree, const std::vector<std::string>& path) {
  const Json* here = &tree;
  for (const auto& key : path) {
    if (!here->is_object() || !here->contains(key)) return nullptr;
    here = &here->at(key);
  }
  return *here;
}

std::string text(const Json& value, const char* format) {
  if (!value.is_number()) return "–";
  char buffer[48];
  std::snprintf(buffer, sizeof buffer, format, value.get<double>());
  return buffer;
}

std::string short_text(const Json& value) { return value.is_number() ? short_number(value.get<double>()) : "–"; }

std::string percent(double share) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, share < 0.1 ? "%.1f %%" : "%.0f %%", 100 * share);
  return buffer;
}

std::string upper(std::string metric) {
  for (auto& c : metric) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return metric;
}

class Page {
 public:
  Page(const Json& report, const std::string& name) : report_(report), metric_(report.at("segments").at("metric")) {
    out_ << "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
            "content=\"width=device-width,initial-scale=1\"><title>"
         << escaped(name) << "</title><style>" << kStyle << "</style></head><body><main>\n<h1>" << escaped(name)
         << "</h1>\n";
  }

  std::string write() {
    headline();
    table();
    charts();
    segments();
    run();
    glossary();
    out_ << "</main></body></html>\n";
    return out_.str();
  }

 private:
  [[nodiscard]] Json test(const char* side) const { return at(report_, {side, "metrics", "test", metric_}); }

  void card(const std::string& value, const std::string& what) {
    out_ << "<div class=\"card\"><b>" << escaped(value) << "</b>" << escaped(what) << "</div>\n";
  }

  void headline() {
    const auto& dataset = report_.at("dataset");
    out_ << "<p class=\"soft\">" << short_text(dataset.at("rows")) << " users, " << short_text(dataset.at("items"))
         << " items, " << short_text(dataset.at("events")) << " events</p>\n<div class=\"cards\">\n";
    const auto teacher = test("teacher"), student = test("student"), control = test("control");
    const auto size = at(report_, {"teacher", "parameters"}), own = at(report_, {"student", "parameters"});
    if (teacher.is_number() && student.is_number() && teacher.get<double>() > 0)
      card(percent(student.get<double>() / teacher.get<double>()),
           "of the teacher's " + upper(metric_) + " on test is kept by the student");
    if (size.is_number() && own.is_number())
      card(percent(own.get<double>() / size.get<double>()),
           "of its size: " + short_text(own) + " parameters instead of " + short_text(size));
    if (control.is_number() && student.is_number() && control.get<double>() > 0) {
      const double gain = student.get<double>() / control.get<double>() - 1;
      card((gain >= 0 ? "+" : "−") + percent(std::abs(gain)),
           "against the same network trained without a teacher, with the same budget");
    }
    if (const auto speed = at(report_, {"inference", "speed_gained", "student", "total"}); speed.is_number())
      card(text(speed, "%.1f ×"), "as fast as the teacher at answering one user");
    out_ << "</div>\n";
    for (const auto& remark : report_.at("remarks"))
      out_ << "<p class=\"note\">" << escaped(remark.get<std::string>()) << "</p>\n";
  }

  void row(const std::vector<std::string>& cells, const char* tag = "td") {
    out_ << "<tr>";
    for (const auto& cell : cells) out_ << "<" << tag << ">" << escaped(cell) << "</" << tag << ">";
    out_ << "</tr>\n";
  }

  void open_table(const std::vector<std::string>& heads, const char* kind = "") {
    out_ << "<div class=\"wide " << kind << "\"><table><thead>";
    row(heads, "th");
    out_ << "</thead><tbody>\n";
  }
  void close_table() { out_ << "</tbody></table></div>\n"; }

  void table() {
    const bool timed = at(report_, {"inference", "sides"}).is_object();
    out_ << "<h2>Quality, size and speed</h2>\n";
    std::vector<std::string> heads{"on test",        "Recall@10",  "NDCG@10", "MRR@10",
                                   "unseen NDCG@10", "parameters", "MB",      "overlap@10"};
    if (timed) heads.insert(heads.end(), {"µs a user, p50", "p99", "users / s"});
    heads.emplace_back("training, seq / s");
    open_table(heads);
    for (const auto& side : sides_of(report_, true)) {
      const auto& entry = side.entry;
      const auto bytes = entry.at("bytes");
      std::vector<std::string> cells{side.name,
                                     text(at(entry, {"metrics", "test", "recall@10"}), "%.4f"),
                                     text(at(entry, {"metrics", "test", "ndcg@10"}), "%.4f"),
                                     text(at(entry, {"metrics", "test", "mrr@10"}), "%.4f"),
                                     text(at(entry, {"metrics", "test_unseen", "ndcg@10"}), "%.4f"),
                                     short_text(entry.at("parameters")),
                                     bytes.is_number() ? text(bytes.get<double>() / 1e6, "%.2f") : "–",
                                     text(at(entry, {"fidelity", "valid_overlap@10"}), "%.2f")};
      if (timed) {
        const auto found = at(report_, {"inference", "sides", side.name});
        for (const char* part : {"p50", "p99"}) cells.push_back(text(at(found, {"latency_us", "total", part}), "%.0f"));
        cells.push_back(short_text(at(found, {"users_per_second"})));
      }
      cells.push_back(text(at(entry, {"train", "sequences_per_second"}), "%.0f"));
      row(cells);
    }
    close_table();
  }

  [[nodiscard]] Series curve(const Side& side, const std::vector<std::string>& path, const std::string& name) const {
    Series out{name, {}, side.colour};
    const auto curve = at(side.entry, {"train", "curve"});
    if (!curve.is_array()) return out;
    for (const auto& entry : curve)
      if (const auto value = at(entry, path); value.is_number())
        out.points.emplace_back(entry.at("epoch").get<double>(), value.get<double>());
    return out;
  }

  [[nodiscard]] Chart learning() const {
    Chart chart{"valid " + upper(metric_) + " by epoch:", "epoch", upper(metric_), {}};
    for (const auto& side : sides_of(report_, false)) chart.series.push_back(curve(side, {metric_}, side.name));
    return chart;
  }

  [[nodiscard]] Chart losses(const Side& side) const {
    Chart chart{side.name + ", mean loss by epoch:", "epoch", "loss", {}};
    std::set<std::string> names;
    if (const auto all = at(side.entry, {"train", "curve"}); all.is_array())
      for (const auto& entry : all)
        for (const auto& [name, value] : entry.at("loss").items()) names.insert(name);
    for (const auto& name : names) {
      chart.series.push_back(curve(side, {"loss", name}, name));
      chart.series.back().colour = static_cast<int>(chart.series.size() - 1) % 6;
    }
    return chart;
  }

  /// Quality against what it costs; baselines cost nothing, and are levels.
  [[nodiscard]] Chart price(const std::string& title, const std::string& label,
                            const std::function<Json(const Side&)>& cost) const {
    Chart chart{title, label, upper(metric_) + " on test", {}};
    chart.lines = false;
    chart.log_x = true;
    for (const auto& side : sides_of(report_, true)) {
      const auto value = at(side.entry, {"metrics", "test", metric_}), price = cost(side);
      if (!value.is_number()) continue;
      const bool baseline = side.entry.at("parameters").is_null();
      if (baseline)
        chart.levels.push_back({side.name, {{0, value.get<double>()}}, side.colour});
      else if (price.is_number() && price.get<double>() > 0)
        chart.series.push_back({side.name, {{price.get<double>(), value.get<double>()}}, side.colour});
    }
    double lowest = 0;
    for (const auto& series : chart.series) {
      const double value = series.points.front().second;
      lowest = lowest == 0 ? value : std::min(lowest, value);
    }
    // A baseline far below would leave the models no room to differ.
    std::erase_if(chart.levels, [&](const auto& level) { return level.points.front().second < lowest / 2; });
    return chart;
  }

  void charts() {
    out_ << "<h2>Learning, and quality against size and speed</h2>\n<div class=\"charts\">\n";
    out_ << svg_chart(learning());
    out_ << svg_chart(
        price("quality against size", "parameters", [](const Side& side) { return side.entry.at("parameters"); }));
    out_ << svg_chart(price("quality against time", "microseconds for one user, median", [&](const Side& side) {
      return at(report_, {"inference", "sides", side.name, "latency_us", "total", "p50"});
    }));
    for (const auto& side : sides_of(report_, false)) out_ << svg_chart(losses(side));
    out_ << "</div>\n";
  }

  void segments() {
    const auto& by = report_.at("segments").at("by");
    if (by.empty()) return;
    out_ << "<h2>For whom, and for which items</h2>\n<p class=\"soft\">Valid " << upper(metric_)
         << " of parts of the targets; share is of all targets.</p>\n";
    for (const auto& [name, values] : by.items()) {
      open_table({name, "share", "teacher", "student", "control", "student of teacher"});
      for (const auto& value : values) {
        if (!value.contains("share")) continue;  // no side was measured
        const auto of = [&](const char* side) { return at(value, {side, "valid", metric_}); };
        const auto teacher = of("teacher"), student = of("student");
        const bool both = teacher.is_number() && student.is_number() && teacher.get<double>() > 0;
        row({value.at("value").get<std::string>(), percent(value.at("share").get<double>()), text(teacher, "%.4f"),
             text(student, "%.4f"), text(of("control"), "%.4f"),
             both ? percent(student.get<double>() / teacher.get<double>()) : "–"});
      }
      close_table();
    }
    loses_most();
  }

  void loses_most() {
    const auto most = at(report_, {"segments", "student_loses_most"});
    if (!most.is_array() || most.empty()) return;
    out_ << "<p>The student loses most of the teacher's quality in:";
    const char* between = " ";
    for (const auto& entry : most) {
      out_ << between << escaped(entry.at("segment").get<std::string>()) << " <b>"
           << escaped(entry.at("value").get<std::string>()) << "</b> (" << text(entry.at("teacher"), "%.4f") << " to "
           << text(entry.at("student"), "%.4f") << ", " << percent(entry.at("share").get<double>()) << " of targets)";
      between = "; ";
    }
    out_ << ".</p>\n";
  }

  void run() {
    out_ << "<h2>What was run</h2>\n";
    open_table({"", ""}, "facts");
    const auto scalars = [&](const std::string& group, const Json& tree) {
      for (const auto& [key, value] : tree.items())
        if (value.is_primitive() && !value.is_null())
          row({group + key, value.is_string() ? value.get<std::string>() : value.dump()});
    };
    row({"decant", report_.at("decant").get<std::string>()});
    scalars("run: ", report_.at("run"));
    scalars("dataset: ", report_.at("dataset"));
    if (const auto labels = report_.at("labels"); labels.is_object())
      for (const auto& [name, set] : labels.items()) scalars("labels " + name + ": ", set);
    for (const auto& side : sides_of(report_, false))
      for (const char* key : {"steps", "best_epoch", "stopped_by", "weights_hash"})
        if (const auto value = at(side.entry, {"train", key}); !value.is_null())
          row({side.name + ": " + key, value.is_string() ? value.get<std::string>() : value.dump()});
    scalars("inference: ", at(report_, {"inference"}));
    close_table();
  }

  void glossary() {
    out_ << R"html(<h2>Words</h2>
<dl><dt>teacher, student, control</dt><dd>The large model; the small one that learnt from its answers; the small one that learnt from the
events alone, with the same number of steps. Student against control is what the teacher was worth.</dd>
<dt>popularity, transitions</dt><dd>Two baselines without a model: the most frequent items; what most often followed the last item.</dd>
<dt>Recall@10</dt><dd>How often the item that really came next is among the ten best of the whole catalogue.</dd>
<dt>NDCG@10, MRR@10</dt><dd>The same, worth more the nearer it is to the top.</dd>
<dt>unseen</dt><dd>Items that the user has had before are left out of the ranking.</dd>
<dt>overlap@10</dt><dd>Share of the teacher's ten best that are among this model's ten best, on valid.</dd>
<dt>valid, test</dt><dd>Events that no model was trained on: valid chooses the best weights, test is looked at once, here.</dd></dl>
<p class="soft">One run is one draw: <code>decant compare</code> tells over several seeds whether a difference is real.</p>
)html";
  }

  const Json& report_;
  std::string metric_;
  std::ostringstream out_;
};

}  // namespace

std::string report_html(const base::Json& report, const std::string& name) { return Page(report, name).write(); }

void write_report_html(const std::filesystem::path& run_folder, const base::Json& report) {
  const auto path = std::filesystem::absolute(run_folder).lexically_normal();
  const auto name = (path.has_filename() ? path : path.parent_path()).filename().string();
  base::write_file(run_folder / "report.html", report_html(report, name));
}

}  // namespace decant::trainer
