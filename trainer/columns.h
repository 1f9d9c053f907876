// Columns of the dataset as inputs of models: who takes which, and what models are told of them.
#pragma once

#include <set>
#include <string>

#include "data/dataset.h"
#include "models/input_columns.h"
#include "trainer/job.h"

namespace decant::trainer {

/// Columns that any model of the job takes.
[[nodiscard]] std::set<std::string> columns_asked(const JobOptions& job);

/// Throws ConfigError when a model takes a column that the dataset has not, or the student one that is kept for teachers.
void check_columns(const JobOptions& job, const std::vector<data::ColumnInfo>& columns);
/// The same by what the job says of its import, before there is a dataset.
void check_columns(const JobOptions& job);

/// What models are told of all columns that can be an input; the values of those of items that are `asked` for.
[[nodiscard]] models::InputColumnMap input_columns(const data::Dataset& dataset, const std::set<std::string>& asked);

/// Of the columns that a model takes, name and hash; null without one. A part of the keys of what it computes.
[[nodiscard]] base::Json column_hashes(const base::KindOptions& model, const data::Dataset& dataset);

}  // namespace decant::trainer
