// The command line: which command, on what, with which options.
#pragma once

#include <string>
#include <vector>

#include "base/options.h"

namespace decant::launch {

struct CommandLine {
  std::string command;            // a name of the table in command_line.cpp, "--version", or "" when `help` is all
  std::string help;               // not empty: print this and leave
  std::string path;               // job file, or what `inspect` looks at; may be empty for `config`
  std::vector<std::string> sets;  // --set key=value, in order
  bool dry_run = false, markdown = false, json = false;
  std::string fault;
  std::string out;                            // of `synthesize`, of `import` without a job file, of `export`
  std::vector<std::string> files;             // of the latter
  base::Json options = base::Json::object();  // flags of the command, for base::read_options
};

/// Throws ConfigError in one line that names the nearest command or option.
[[nodiscard]] CommandLine parse_command_line(int argc, const char* const* argv);

}  // namespace decant::launch
