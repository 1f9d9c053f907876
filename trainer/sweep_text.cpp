// The table at the end of a sweep.
#include <cstdio>
#include <sstream>

#include "trainer/compare.h"
#include "trainer/sweep.h"

namespace decant::trainer {
namespace {

std::string level(const base::Json& side) {
  if (side.is_null()) return "-";
  char text[64];
  std::snprintf(text, sizeof text, "%.4f +- %.4f (%zu)", side.at("mean").get<double>(),
                side.at("deviation").get<double>(), side.at("by_seed").size());
  return text;
}

}  // namespace

std::string format_sweep(const base::Json& sweep) {
  std::ostringstream out;
  char line[320];
  out << "\nvalid " << sweep.at("metric").get<std::string>() << ", mean and deviation (seeds)\n";
  std::snprintf(line, sizeof line, "%4s  %-26s %-26s %s\n", "", "student", "control", "setting");
  out << line;
  const auto& chosen = sweep.at("chosen");
  std::size_t number = 0;
  for (const auto& setting : sweep.at("settings")) {
    std::string student = level(setting.at("student")), control = level(setting.at("control"));
    if (!chosen.is_null() && chosen.at("student") == number) student += " *";
    if (!chosen.is_null() && chosen.at("control") == number) control += " *";
    std::snprintf(line, sizeof line, "%4zu  %-26s %-26s %.200s\n", ++number, student.c_str(), control.c_str(),
                  setting.at("text").get<std::string>().c_str());
    out << line;
  }
  out << "* chosen; the control was tried at each of its " << sweep.at("control_settings").get<int>()
      << " different settings, the student at " << sweep.at("student_settings").get<int>() << "\n";
  if (sweep.at("comparisons").is_array())
    for (const auto& comparison : sweep.at("comparisons")) out << "\n" << format_comparison(comparison);
  return out.str();
}

}  // namespace decant::trainer
