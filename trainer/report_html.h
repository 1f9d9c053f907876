// report.html: the report as one page that needs nothing else, for readers who do not know the terms.
#pragma once

#include <filesystem>
#include <string>

#include "base/options.h"

namespace decant::trainer {

/// Of a report as build_report makes it. No script, no other file, no network; the same report gives the same bytes.
[[nodiscard]] std::string report_html(const base::Json& report, const std::string& name);

/// Writes `<run folder>/report.html` under the folder's name.
void write_report_html(const std::filesystem::path& run_folder, const base::Json& report);

}  // namespace decant::trainer
