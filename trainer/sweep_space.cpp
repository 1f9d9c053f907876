#include "trainer/sweep_space.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "base/random.h"

namespace decant::trainer {
namespace {

using base::ConfigError;
using base::Json;

constexpr std::uint64_t kSweepSite = 0x7377656570;
constexpr std::array kSwept{"teacher", "teachers", "student", "losses", "labels", "batch"};

Json number_json(double value) {
  constexpr double kExact = 0x1.0p53;
  if (value == std::floor(value) && std::abs(value) < kExact) return static_cast<std::int64_t>(value);
  return value;
}

/// A map, a list, true or false written as JSON; anything else stays text.
Json text_json(const std::string& text) {
  const Json parsed = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return parsed.is_structured() || parsed.is_boolean() ? parsed : Json(text);
}

/// Meant as a map or a list, and not readable as one.
bool is_broken_json(const std::string& text) {
  return (text.starts_with('{') || text.starts_with('[')) && text_json(text).is_string();
}

std::vector<Json> listed(const SweepKeyOptions& key) {
  std::vector<Json> out;
  for (const double number : key.numbers) out.push_back(number_json(number));
  for (const auto& text : key.texts) out.push_back(text_json(text));
  return out;
}

Json drawn(const SweepKeyOptions& key, std::uint64_t bits) {
  if (!key.is_range()) {
    const auto values = listed(key);
    return values[base::below(bits, values.size())];
  }
  const double at = base::unit(bits);
  if (key.integer && key.scale == "linear")
    return number_json(key.low +
                       static_cast<double>(base::below(bits, static_cast<std::uint64_t>(key.high - key.low) + 1)));
  const double value = key.scale == "log" ? std::exp(std::log(key.low) + at * (std::log(key.high) - std::log(key.low)))
                                          : key.low + at * (key.high - key.low);
  return number_json(key.integer ? std::round(value) : value);
}

std::uint64_t hash_of(const std::string& text) {
  std::uint64_t out = text.size();
  for (const char c : text) out = base::mix64(out ^ static_cast<unsigned char>(c));
  return out;
}

}  // namespace

void SweepKeyOptions::describe(base::Fields& fields) {
  fields.reals("numbers", numbers, {}, "the values, when they are numbers");
  fields.texts("texts", texts, "the values, when they are not: text, or true, false or a map in JSON's form");
  fields.real("low", low, {}, "random search: the least value of a range");
  fields.real("high", high, {}, "and the largest");
  fields.text("scale", scale, "how a range is drawn: evenly, or evenly in the logarithm", {"linear", "log"});
  fields.flag("integer", integer, "whole numbers only");
}

void SweepOptions::describe(base::Fields& fields) {
  fields.text("search", search, "grid: every combination of the lists; random: draws from lists and ranges",
              {"grid", "random"});
  fields.integer("trials", trials, {1, 1e6}, "random: settings that are drawn");
  fields.integer("seeds", seeds, {1, 1000},
                 "of student and control: run.seed and those after it; the teacher keeps its own");
  fields.integer("finalists", finalists, {0, 1e6},
                 "settings of each side that get all seeds, the best on the first one; 0: all settings do");
  fields.groups("keys", keys, "values by key of the job, such as student.optimizer.lr");
}

void SweepOptions::check() const {
  for (const auto& [name, key] : keys) {
    const std::string where = "'sweep.keys." + name + "'";
    const std::string first = name.substr(0, name.find('.'));
    if (std::find(kSwept.begin(), kSwept.end(), first) == kSwept.end())
      throw ConfigError(where + ": only keys below " + base::join({kSwept.begin(), kSwept.end()}) +
                        " can be swept (seeds by 'sweep.seeds')");
    if (name == "student.train.select" || name == "student.train")
      throw ConfigError(where + ": settings are compared by 'student.train.select', which cannot differ");
    const int given = (key->numbers.empty() ? 0 : 1) + (key->texts.empty() ? 0 : 1) + (key->is_range() ? 1 : 0);
    if (given != 1) throw ConfigError(where + ": give either numbers, or texts, or low and high");
    const auto broken = std::find_if(key->texts.begin(), key->texts.end(), is_broken_json);
    if (broken != key->texts.end())
      throw ConfigError(where + ": " + *broken + " is no JSON: names and texts in it stand in double quotes");
    if (!key->is_range()) continue;
    if (search == "grid") throw ConfigError(where + ": a grid takes lists; a range needs 'sweep.search: random'");
    if (key->low > key->high) throw ConfigError(where + ": low is above high");
    if (key->scale == "log" && key->low <= 0) throw ConfigError(where + ": a logarithmic range begins above 0");
  }
}

std::vector<Setting> settings_of(const SweepOptions& options, std::uint64_t seed) {
  if (options.search == "random" && !options.keys.empty()) {
    std::vector<Setting> out(static_cast<std::size_t>(options.trials));
    for (std::size_t trial = 0; trial < out.size(); ++trial)
      for (const auto& [name, key] : options.keys)
        out[trial].emplace_back(name, drawn(*key, base::key_of(seed, kSweepSite, trial, hash_of(name))));
    return out;
  }
  std::vector<Setting> out{{}};
  for (const auto& [name, key] : options.keys) {
    std::vector<Setting> longer;
    for (const auto& setting : out)
      for (const auto& value : listed(*key)) {
        longer.push_back(setting);
        longer.back().emplace_back(name, value);
      }
    out = std::move(longer);
  }
  return out;
}

void apply(const Setting& setting, Json& job) {
  for (const auto& [key, value] : setting) {
    // The options of one kind are unknown to another, so they go when the type changes.
    if (key.ends_with(".type"))
      base::set_key(job, key.substr(0, key.size() - 5), Json{{"type", value}});
    else
      base::set_key(job, key, value);
  }
}

std::string text_of(const Setting& setting) {
  const auto last = [](const std::string& key) { return key.substr(key.rfind('.') + 1); };
  std::map<std::string, int> times;
  for (const auto& [key, value] : setting) ++times[last(key)];
  std::vector<std::string> out;
  for (const auto& [key, value] : setting)
    out.push_back((times[last(key)] > 1 ? key : last(key)) + "=" +
                  (value.is_string() ? value.get<std::string>() : value.dump()));
  return out.empty() ? "(the job)" : base::join(out, " ");
}

}  // namespace decant::trainer
