#include "trainer/value_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace decant::trainer {

void ValueSchedule::describe(base::Fields& fields) {
  fields.text("kind", kind, "after warm-up", {"constant", "linear", "cosine"});
  fields.integer("steps", steps, {0, 1e12}, "optimiser steps from the start value to `end`, which then stays");
  fields.real("end", end, {0, 1e9}, "value at the end; not with constant");
  fields.integer("warmup_steps", warmup_steps, {0, 1e12}, "steps of linear rise (or fall) to the start value");
  fields.real("warmup_from", warmup_from, {0, 1e9}, "value before the first step of warm-up");
}

double ValueSchedule::at(double start, std::int64_t step) const {
  if (step < warmup_steps) {
    const double done = static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
    return warmup_from + (start - warmup_from) * done;
  }
  if (kind == "constant") return start;
  const double done = std::min(1.0, static_cast<double>(step - warmup_steps) / static_cast<double>(steps));
  const double left = kind == "linear" ? 1 - done : 0.5 * (1 + std::cos(std::numbers::pi * done));
  return end + (start - end) * left;
}

void ValueSchedule::check(const std::string& key) const {
  if (kind != "constant" && steps == 0)
    throw base::ConfigError("'" + key + ".kind: " + kind + "' needs '" + key + ".steps' above 0");
}

void TemperatureSchedule::describe(base::Fields& fields) {
  fields.text("kind", kind, "after warm-up", {"constant", "linear", "cosine"});
  fields.integer("steps", steps, {0, 1e12}, "optimiser steps from `temperature` to `end`, which then stays");
  fields.real("end", end, {0.05, 100}, "T at the end; not with constant");
  fields.integer("warmup_steps", warmup_steps, {0, 1e12}, "steps of linear rise (or fall) to `temperature`");
  fields.real("warmup_from", warmup_from, {0.05, 100}, "T before the first step of warm-up");
  fields.reals("grid", grid, {0.05, 100}, "T is the nearest of these; needed where labels are stored at a list of T");
}

double TemperatureSchedule::at(double start, std::int64_t step) const {
  const double value = ValueSchedule::at(start, step);
  if (grid.empty() || !changes()) return value;
  return *std::min_element(grid.begin(), grid.end(), [&](double a, double b) {
    return std::abs(std::log(a / value)) < std::abs(std::log(b / value));
  });
}

std::vector<double> TemperatureSchedule::values(double start) const {
  return changes() ? grid : std::vector<double>{start};
}

}  // namespace decant::trainer
