#include "launch/job_text.h"

#include <cmath>
#include <utility>
#include <vector>

#include "launch/job_file.h"

namespace decant::launch {

namespace {

using base::Json;

constexpr std::size_t kColumns = 110;

/// Plain where that reads back as the same text, else quoted as in JSON, which YAML's double quotes understand.
std::string text_value(const std::string& text) {
  static constexpr std::string_view kSafe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./@+";
  static constexpr std::string_view kSafeFirst = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_/.";
  const bool safe = !text.empty() && kSafeFirst.find(text.front()) != std::string_view::npos &&
                    text.find_first_not_of(kSafe) == std::string::npos && parse_value(text).is_string();
  return safe ? text : Json(text).dump();
}

std::string list_value(const std::vector<std::string>& items) { return "[" + base::join(items) + "]"; }

std::string number(double value) { return Json(value).dump(); }

std::string range_text(const base::Range& range) {
  const bool low = std::isfinite(range.low), high = std::isfinite(range.high);
  const auto text = [](double value) {
    return value == std::floor(value) && std::abs(value) < 1e15 ? std::to_string(static_cast<std::int64_t>(value))
                                                                : number(value);
  };
  if (low && high) return text(range.low) + " to " + text(range.high);
  if (low) return ">= " + text(range.low);
  return high ? "<= " + text(range.high) : "";
}

class YamlWriter final : public base::Fields {
 public:
  YamlWriter(std::string& out, Comments comments, std::size_t depth = 0)
      : out_(out), comments_(comments), indent_(2 * depth, ' ') {}

  void integer(std::string_view name, std::int64_t& value, base::Range range, std::string_view help) override {
    entry(name, std::to_string(value), help, range_text(range));
  }
  void real(std::string_view name, double& value, base::Range range, std::string_view help) override {
    entry(name, number(value), help, range_text(range));
  }
  void flag(std::string_view name, bool& value, std::string_view help) override {
    entry(name, value ? "true" : "false", help, "");
  }
  void text(std::string_view name, std::string& value, std::string_view help,
            const std::vector<std::string>& choices) override {
    entry(name, text_value(value), help, base::join(choices, " | "));
  }
  void texts(std::string_view name, std::vector<std::string>& value, std::string_view help) override {
    std::vector<std::string> items;
    for (const std::string& item : value) items.push_back(text_value(item));
    entry(name, list_value(items), help, "");
  }
  void reals(std::string_view name, std::vector<double>& value, base::Range range, std::string_view help) override {
    std::vector<std::string> items;
    for (const double item : value) items.push_back(number(item));
    entry(name, list_value(items), help, range_text(range));
  }

  void group(std::string_view name, base::Options& value, std::string_view help) override {
    if (indent_.empty() && comments_ == Comments::kHelp) out_ += "\n";
    entry(name, "", help, "");
    YamlWriter inner(out_, comments_, depth() + 1);
    value.describe(inner);
  }

  void kind(std::string_view name, base::KindOptions& value, const base::KindSet& kinds,
            std::string_view help) override {
    if (value.type.empty()) {
      comment(help, base::join(kinds.names(), " | "));
      comment(std::string(name) + ": none", "");
      return;
    }
    entry(name, "", help, base::join(kinds.names(), " | "));
    YamlWriter inner(out_, comments_, depth() + 1);
    inner.entry("type", text_value(value.type), "", "");
    inner.options_of(value, value.type, kinds);
  }

  void kinds(std::string_view name, std::map<std::string, base::KindOptions>& value, const base::KindSet& kinds,
             std::string_view help) override {
    if (indent_.empty() && comments_ == Comments::kHelp) out_ += "\n";
    entry(name, value.empty() ? "{}" : "", help, base::join(kinds.names(), " | "));
    YamlWriter entries(out_, comments_, depth() + 1);
    for (auto& [key, options] : value) {
      const std::string type = options.type.empty() ? key : options.type;
      entries.entry(key, "", "", "");
      YamlWriter inner(out_, comments_, depth() + 2);
      // Always there: an entry without options would read as nothing.
      inner.entry("type", text_value(type), "", "");
      inner.options_of(options, type, kinds);
    }
  }

  void groups(std::string_view name, base::NamedGroups& value, std::string_view help) override {
    const auto groups = value.entries();
    entry(name, groups.empty() ? "{}" : "", help, "");
    YamlWriter entries(out_, comments_, depth() + 1);
    for (const auto& [key, group] : groups) {
      entries.entry(key, "", "", "");
      YamlWriter inner(out_, comments_, depth() + 2);
      group->describe(inner);
    }
  }

 private:
  [[nodiscard]] std::size_t depth() const { return indent_.size() / 2; }

  void options_of(base::KindOptions& value, const std::string& type, const base::KindSet& kinds) {
    const std::unique_ptr<base::Options> made = value.options == nullptr ? kinds.options_of(type) : nullptr;
    (made == nullptr ? *value.options : *made).describe(*this);
  }

  void entry(std::string_view name, const std::string& value, std::string_view help, const std::string& allowed) {
    comment(help, allowed);
    out_ += indent_ + text_value(std::string(name)) + ":" + (value.empty() ? "" : " " + value) + "\n";
  }

  /// "# help (allowed)", broken at blanks.
  void comment(std::string_view help, const std::string& allowed) {
    if (comments_ == Comments::kNone) return;
    std::string text(help);
    if (!allowed.empty()) text += (text.empty() ? "(" : " (") + allowed + ")";
    const std::size_t width = kColumns - indent_.size() - 2;
    while (!text.empty()) {
      std::size_t cut = text.size() <= width ? text.size() : text.rfind(' ', width);
      if (cut == std::string::npos) cut = text.size();
      out_ += indent_ + "# " + text.substr(0, cut) + "\n";
      text.erase(0, cut + 1);
    }
  }

  std::string& out_;
  Comments comments_;
  std::string indent_;
};

}  // namespace

std::string job_text(base::Options& options, Comments comments) {
  std::string out;
  YamlWriter writer(out, comments);
  options.describe(writer);
  return out;
}

}  // namespace decant::launch
