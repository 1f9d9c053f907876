#include "launch/import_command.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>

#include "data/import.h"
#include "data/import_text.h"
#include "launch/failure.h"
#include "launch/job_file.h"
#include "launch/launcher.h"
#include "launch/plain_text.h"
#include "launch/same_start.h"
#include "launch/session.h"
#include "launch/version.h"
#include "monitoring/progress.h"
#include "trainer/import_ranks.h"

namespace decant::launch {

namespace {

/// The import replaces what is at `out`, which must then be ours to replace.
void refuse_foreign_folder(const std::filesystem::path& out) {
  namespace fs = std::filesystem;
  if (!fs::exists(out) || (fs::is_directory(out) && (fs::is_empty(out) || fs::exists(out / "manifest.json")))) return;
  throw base::ConfigError("--out " + out.string() + " is there and is no dataset of decant's: choose another name");
}

data::ImportOptions read_import_options(const CommandLine& line) {
  data::ImportOptions options;
  auto given = line.options;
  for (const auto& assignment : line.sets) set_value(given, assignment);
  base::read_options(given, options);
  options.files = line.files;
  return options;
}

void import_files(const data::ImportOptions& options, const CommandLine& line, Session& session) {
  session.host().stand_at("import", -1);
  monitoring::Progress progress(stderr, session.leads());
  bool started = false;
  const auto tell = [&](std::int64_t done, std::int64_t total) {
    if (!std::exchange(started, true)) progress.start("import", 0, total);
    progress.update(done, std::to_string(done >> 20) + " of " + std::to_string(total >> 20) + " MiB");
  };
  const auto summary = data::import_dataset(options, line.out, tell, {}, trainer::import_ranks(session.host()));
  progress.leave();
  if (session.leads()) print_text((line.json ? summary.to_json().dump(1) : data::import_text(line.out)) + "\n");
  session.host().rendezvous();
}

}  // namespace

int run_import(const CommandLine& line) {
  Session session(detect_launcher(process_environment()));
  data::ImportOptions options;
  require_same(session.host(), "versions of decant", "decant " + build_text());
  agree(session.host(), [&] {
    options = read_import_options(line);
    if (session.leads()) refuse_foreign_folder(line.out);
  });
  require_same(
      session.host(), "options",
      base::write_options(options).dump(1, ' ', false, base::Json::error_handler_t::replace) + "\n--out " + line.out);
  try {
    import_files(options, line, session);
    return 0;
  } catch (...) {
    if (session.size() == 1) throw;
    return session.leave(current_failure());
  }
}

}  // namespace decant::launch
