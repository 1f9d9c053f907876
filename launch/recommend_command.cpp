#include "launch/recommend_command.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <unordered_map>

#include "data/errors.h"
#include "data/line_reader.h"
#include "data/pseudonyms.h"
#include "launch/finished_run.h"
#include "launch/history_line.h"
#include "launch/plain_text.h"
#include "trainer/export.h"
#include "trainer/recommend.h"

namespace decant::launch {

namespace {

constexpr std::size_t kBatch = 64;

/// Original ids of the catalogue, both ways.
class Items {
 public:
  Items(const data::Dataset& dataset, const std::string& key_file)
      : pseudonyms_(data::pseudonyms_of(dataset.info().folder, key_file)) {
    const bool replaced = data::pseudonym_facts(dataset.info().folder).items;
    if (!replaced) pseudonyms_.reset();
    wants_key_ = replaced && !pseudonyms_;
    for (std::int64_t item = 0; item < dataset.info().items; ++item) names_.push_back(dataset.item_name(item));
    for (std::size_t item = 0; item < names_.size(); ++item)
      ids_.emplace(names_[item], static_cast<std::int64_t>(item));
  }
  /// -1 when the catalogue has none of that name.
  [[nodiscard]] std::int64_t id(std::string_view name) const {
    const auto at = pseudonyms_ ? ids_.find(pseudonyms_->of(data::IdKind::kItem, name)) : ids_.find(name);
    return at == ids_.end() ? -1 : at->second;
  }
  [[nodiscard]] const std::string& name(std::int64_t id) const { return names_[static_cast<std::size_t>(id)]; }
  [[nodiscard]] std::size_t size() const { return names_.size(); }
  /// The catalogue has pseudonyms, and ids are looked up as they come in.
  [[nodiscard]] bool wants_key() const { return wants_key_; }

 private:
  std::unique_ptr<data::Pseudonyms> pseudonyms_;  // null: ids are as they come in
  bool wants_key_ = false;
  std::vector<std::string> names_;
  std::unordered_map<std::string_view, std::int64_t> ids_;
};

/// Rows of the dataset by user, where the model takes anything of them.
class Users {
 public:
  Users(const data::Dataset& dataset, const std::vector<std::string>& columns, const std::string& key_file) {
    if (std::none_of(columns.begin(), columns.end(), [](const auto& name) { return name.starts_with("user."); }))
      return;
    if (data::pseudonym_facts(dataset.info().folder).users)
      pseudonyms_ = data::pseudonyms_of(dataset.info().folder, key_file);
    dataset.visit_users([&](std::int64_t row, std::string_view user) { rows_.emplace(user, row); });
  }
  /// -1: not known.
  [[nodiscard]] std::int64_t row(const std::string& user) const {
    const auto at = rows_.find(pseudonyms_ ? pseudonyms_->of(data::IdKind::kUser, user) : user);
    return at == rows_.end() ? -1 : at->second;
  }

 private:
  std::unique_ptr<data::Pseudonyms> pseudonyms_;  // null: ids are as they come in
  std::unordered_map<std::string, std::int64_t> rows_;
};

/// Calls visit(line number, line) for every line of a file that is not empty.
template <class Visit>
void each_line(const std::string& path, const Visit& visit) {
  data::LineReader lines(path);
  std::string_view line;
  while (lines.next(line))
    if (!line.empty()) visit(lines.line_number(), line);
}

trainer::ItemRules rules_of(const trainer::RecommendOptions& options, const Items& items) {
  trainer::ItemRules rules;
  const auto list = [&](const std::string& path, bool allow) {
    if (path.empty()) return;
    if (rules.allowed.empty()) rules.allowed.assign(items.size(), !allow);
    each_line(path, [&](std::int64_t, std::string_view line) {
      if (const auto id = items.id(line); id >= 0) rules.allowed[static_cast<std::size_t>(id)] = allow;
    });
  };
  list(options.allow, true);
  list(options.block, false);
  if (options.categories.empty()) return rules;
  rules.category.assign(items.size(), -1);
  std::unordered_map<std::string, std::int64_t> numbers;
  each_line(options.categories, [&](std::int64_t number, std::string_view line) {
    const auto tab = line.find('\t');
    if (tab == std::string_view::npos)
      throw data::DataError(options.categories, "", number, "a line is an item, a tab, and its category");
    const auto id = items.id(line.substr(0, tab));
    const auto category = numbers.emplace(line.substr(tab + 1), std::ssize(numbers)).first->second;
    if (id >= 0) rules.category[static_cast<std::size_t>(id)] = category;
  });
  return rules;
}

std::string counted(std::int64_t count, const char* one, const char* many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

/// Collects histories, asks for some at once, prints in order.
class Answers {
 public:
  /// `columns`: of events, that the model takes.
  Answers(trainer::Recommender& recommender, const Items& items, const Users& users,
          const std::vector<data::ColumnInfo>& columns, bool json)
      : recommender_(recommender), items_(items), users_(users), columns_(columns), json_(json) {}

  void add(History history) {
    waiting_.push_back(std::move(history));
    if (waiting_.size() == kBatch) answer();
  }

  void answer() {
    std::vector<trainer::AskedHistory> histories;
    for (auto& [name, events] : waiting_) {
      unknown_ += events.unknown;
      empty_ += events.items.empty();
      silent_ += events.values.empty();
      histories.push_back({std::move(events.items), std::move(events.values), users_.row(name)});
    }
    const auto found = recommender_(histories);
    std::string out;
    for (std::size_t i = 0; i < waiting_.size(); ++i)
      out += json_ ? as_json(waiting_[i], found[i]) : as_text(waiting_[i], found[i]);
    print_text(out);
    answered_ += std::ssize(waiting_);
    waiting_.clear();
  }

  [[nodiscard]] std::string summary() const {
    return counted(answered_, "history", "histories") + ", " + std::to_string(empty_) +
           " of them without an item of the catalogue (no answer); " +
           counted(unknown_, "unknown item", "unknown items") +
           (unknown_ > 0 && items_.wants_key() ? " (the catalogue has pseudonyms: --key-file)" : "") + silent();
  }

 private:
  /// Histories that the model is told less of than it can take.
  [[nodiscard]] std::string silent() const {
    if (silent_ == 0 || columns_.empty()) return "";
    std::vector<std::string> names;
    for (const auto& info : columns_) names.push_back(info.full_name());
    return "; " + counted(silent_, "history", "histories") + " without values of " + base::join(names);
  }
  [[nodiscard]] std::string as_text(const History& history, const std::vector<trainer::Recommended>& found) const {
    std::string out;
    for (const auto& [item, score] : found)
      out += history.name + "\t" + items_.name(item) + "\t" + base::Json(score).dump() + "\n";
    return out;
  }
  [[nodiscard]] std::string as_json(const History& history, const std::vector<trainer::Recommended>& found) const {
    base::Json list = base::Json::array();
    for (const auto& [item, score] : found) list.push_back({{"item", items_.name(item)}, {"score", score}});
    const base::Json tree{{"id", history.name}, {"items", list}, {"unknown", history.events.unknown}};
    return tree.dump(-1, ' ', false, base::Json::error_handler_t::replace) + "\n";
  }

  trainer::Recommender& recommender_;
  const Items& items_;
  const Users& users_;
  const std::vector<data::ColumnInfo>& columns_;
  bool json_;
  std::vector<History> waiting_;
  std::int64_t answered_ = 0, unknown_ = 0, empty_ = 0, silent_ = 0;
};

}  // namespace

void recommend_command(const CommandLine& line, const trainer::Registries& registries) {
  trainer::RecommendOptions options;
  base::read_options(line.options, options);
  FinishedRun run(line, line.files.front(), registries);
  auto& space = run.space();
  const auto model = trainer::finished_model(space, options.side);
  const Items items(space.dataset(), options.key_file);
  const auto taken = trainer::columns_of(space, options.side);
  const Users users(space.dataset(), taken, options.key_file);
  const auto fields = data::history_fields(space.dataset(), taken);
  trainer::Recommender recommender(model, options, rules_of(options, items), space.dataset().user_columns(),
                                   data::EventColumns(fields.columns()));
  Answers answers(recommender, items, users, fields.columns(), line.json);
  const data::ItemNumber number_of = [&](std::string_view id) { return items.id(id); };
  std::vector<std::string> inputs(line.files.begin() + 1, line.files.end());
  if (inputs.empty()) inputs.emplace_back("/dev/stdin");
  for (const auto& path : inputs)
    each_line(path, [&](std::int64_t number, std::string_view text) {
      auto history = parse_history(text, path, number, number_of, fields);
      if (!history.name.empty()) answers.add(std::move(history));
    });
  answers.answer();
  std::fprintf(stderr, "%s\n", answers.summary().c_str());
}

}  // namespace decant::launch
