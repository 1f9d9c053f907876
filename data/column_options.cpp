#include "data/column_options.h"

namespace decant::data {

void ColumnOptions::describe(base::Fields& fields) {
  constexpr double kHuge = 1e15;
  fields.text("column", column, "its name in the file; empty: as it is named here");
  fields.text("kind", kind, "what a value is; a text is kept to be shown, and is no input of a model",
              {"category", "number", "text"});
  fields.flag("teacher_only", teacher_only, "a student that takes it is refused");
  fields.text("separator", separator, "between several categories of one row, such as |; empty: a row has one");
  fields.integer("most_values", most_values, {1, 1024}, "of one row's categories; further ones are left out");
  fields.integer("min_count", min_count, {1, kHuge}, "categories with fewer training events are one: other");
  fields.text("transform", transform, "of a number, before it is standardised: none, or sign(x) log(1 + |x|)",
              {"none", "log"});
  fields.text(
      "missing", missing,
      "a row without a value: a code of its own, of numbers the mean; or the event is dropped; or the import ends",
      {"fill", "drop", "stop"});
  fields.text("negative", negative, "a number below 0: kept, or taken as missing, dropped or refused",
              {"keep", "fill", "drop", "stop"});
}

void ColumnOptions::check(const std::string& key) const {
  const auto refuse = [&](const std::string& why) { throw base::ConfigError("'" + key + "': " + why); };
  const ColumnOptions plain;
  if (kind != "category" && !separator.empty()) refuse("'separator' divides categories, and this is a " + kind);
  if (kind != "category" && min_count != plain.min_count)
    refuse("'min_count' counts categories, and this is a " + kind);
  if (kind != "number" && transform != plain.transform) refuse("'transform' is for numbers, and this is a " + kind);
  if (kind != "number" && negative != plain.negative) refuse("'negative' is for numbers, and this is a " + kind);
  if (kind == "text" && teacher_only) refuse("a text is no input of a model, so 'teacher_only' has no meaning");
}

}  // namespace decant::data
