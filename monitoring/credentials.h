// Who may read the metrics: user and password from a file, so that neither is in a job file, a log or a target list.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace decant::monitoring {

struct Credentials {
  std::string user, password;
};

/// Reads one line `user:password`; the password may hold further colons. `key`: the option that named the file.
/// Throws ConfigError, which never quotes the file's content: it cannot be read, is no regular file, others than its
/// owner have any right to it, or it is not such a line.
[[nodiscard]] Credentials read_credentials(const std::filesystem::path& path, std::string_view key);

/// Value of an Authorization header (RFC 7617): "Basic dXNlcjpwYXNz".
[[nodiscard]] std::string basic_authorization(const Credentials& credentials);

/// Whether a request's Authorization header says `expected`. Takes the same time wherever they differ.
[[nodiscard]] bool authorizes(std::string_view header, std::string_view expected);

}  // namespace decant::monitoring
