#include "monitoring/credentials.h"

#include <fcntl.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/errors.h"
#include "monitoring/base64.h"

namespace decant::monitoring {
namespace {

constexpr std::size_t kMostBytes = 4096;
constexpr std::string_view kScheme = "Basic ";

struct Descriptor {
  explicit Descriptor(int opened) : number(opened) {}
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number;
};

/// The rights are those of the file that is read, whatever its name points to a moment later.
std::string read_private(const std::string& path, const std::string& where) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat facts {};
  if (file.number < 0 || ::fstat(file.number, &facts) != 0)
    throw base::ConfigError(where + "cannot be read: " + std::strerror(errno));
  if (!S_ISREG(facts.st_mode)) throw base::ConfigError(where + "is no regular file");
  if ((facts.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    throw base::ConfigError(where + "others than its owner have rights to it; `chmod 600` takes them away");
  std::array<char, kMostBytes + 1> bytes{};
  const ssize_t count = ::read(file.number, bytes.data(), bytes.size());
  if (count < 0) throw base::ConfigError(where + "cannot be read: " + std::strerror(errno));
  if (static_cast<std::size_t>(count) > kMostBytes)
    throw base::ConfigError(where + "is longer than " + std::to_string(kMostBytes) + " bytes");
  return {bytes.data(), static_cast<std::size_t>(count)};
}

bool is_control(char letter) { return static_cast<unsigned char>(letter) < 0x20 || letter == 0x7f; }

}  // namespace

Credentials read_credentials(const std::filesystem::path& path, std::string_view key) {
  const std::string where = std::string(key) + ": " + path.string() + ": ";
  std::string line = read_private(path.string(), where);
  if (line.ends_with('\n')) line.pop_back();
  if (line.ends_with('\r')) line.pop_back();
  const std::size_t colon = line.find(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == line.size() ||
      std::any_of(line.begin(), line.end(), is_control))
    throw base::ConfigError(where + "expected one line user:password");
  return {line.substr(0, colon), line.substr(colon + 1)};
}

std::string basic_authorization(const Credentials& credentials) {
  return std::string(kScheme) + base64(credentials.user + ":" + credentials.password);
}

bool authorizes(std::string_view header, std::string_view expected) {
  if (header.size() != expected.size()) return false;
  if (::strncasecmp(header.data(), kScheme.data(), kScheme.size()) != 0) return false;
  unsigned char differs = 0;
  for (std::size_t i = kScheme.size(); i < header.size(); ++i)
    differs = static_cast<unsigned char>(differs | (header[i] ^ expected[i]));
  return differs == 0;
}

}  // namespace decant::monitoring
