#include "data/interaction_records.h"

namespace decant::data {

std::vector<WantedColumn> interaction_columns(const InteractionOptions& options) {
  return {{"user", options.user, ColumnUse::kText},       {"item", options.item, ColumnUse::kText},
          {"time", options.time, ColumnUse::kTime},       {"event", options.event, ColumnUse::kText},
          {"rating", options.rating, ColumnUse::kNumber}, {"quantity", options.quantity, ColumnUse::kNumber}};
}

}  // namespace decant::data
