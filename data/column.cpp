#include "data/column.h"

#include <algorithm>
#include <bit>

#include "data/dataset_layout.h"
#include "data/errors.h"

namespace decant::data {

base::Json ColumnInfo::to_json() const {
  base::Json tree{{"table", table}, {"name", name}, {"kind", kind}, {"role", role}, {"missing", missing}};
  if (kind == "category") tree["values"] = values, tree["width"] = width;
  if (kind == "number") tree["transform"] = transform, tree["mean"] = mean, tree["deviation"] = deviation;
  tree["hash"] = hash;
  return tree;
}

ColumnInfo ColumnInfo::from_json(const base::Json& tree, const std::filesystem::path& manifest) {
  const auto number = [&](const char* field) {
    const auto& value = manifest_field(tree, field, manifest);
    if (!value.is_number()) throw DataError(manifest.string(), std::string("the field ") + field + " is no number");
    return value.get<double>();
  };
  ColumnInfo info;
  info.table = manifest_text(tree, "table", manifest);
  info.name = manifest_text(tree, "name", manifest);
  info.kind = manifest_text(tree, "kind", manifest);
  info.role = manifest_text(tree, "role", manifest);
  info.missing = manifest_number(tree, "missing", manifest);
  info.hash = manifest_text(tree, "hash", manifest);
  if (info.kind == "category") {
    info.values = manifest_number(tree, "values", manifest);
    info.width = manifest_number(tree, "width", manifest);
    if (info.values < kFirstValueCode || info.width < 1)
      throw DataError(manifest.string(), "the column " + info.full_name() + " has no codes");
  }
  if (info.kind == "number") {
    info.transform = manifest_text(tree, "transform", manifest);
    info.mean = number("mean");
    info.deviation = number("deviation");
  }
  return info;
}

std::uint32_t gap_code(std::int64_t before, std::int64_t now) {
  constexpr std::int64_t kSecond = 1'000'000;
  const auto seconds = static_cast<std::uint64_t>(std::max<std::int64_t>(0, now - before) / kSecond);
  return kFirstValueCode + std::min(static_cast<std::uint32_t>(kGapValues - kFirstValueCode - 1),
                                    static_cast<std::uint32_t>(std::bit_width(1 + seconds) - 1));
}

}  // namespace decant::data
