// The one base of every error decant throws on purpose, with the exit code that main returns for it.
#pragma once

#include <stdexcept>
#include <string>

namespace decant::base {

/// Exit codes of the program; documented in docs/errors.md.
enum class ExitCode : int {
  kOk = 0,
  kUnexpected = 1,
  kConfig = 2,
  kData = 3,
  kCommunication = 4,
  kNumerics = 5,
  kCheckpoint = 6,
  kStopped = 7,  // by a signal, with everything saved: run again to continue
};

/// Base class: a sentence a user can act on, and the exit code of its family.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& what) : std::runtime_error(what), code_(code) {}
  [[nodiscard]] ExitCode code() const noexcept { return code_; }

 private:
  ExitCode code_;
};

/// A wrong option, job file or command line: names the key and, where there is one, the nearest known key.
class ConfigError : public Error {
 public:
  explicit ConfigError(const std::string& what) : Error(ExitCode::kConfig, what) {}
};

/// A file of ours or of the user's that cannot be read or written: names the path and the system's reason.
class FileError : public Error {
 public:
  FileError(const std::string& path, const std::string& why) : Error(ExitCode::kData, path + ": " + why), path_(path) {}
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

}  // namespace decant::base
