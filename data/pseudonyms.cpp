#include "data/pseudonyms.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <tuple>
#include <unordered_set>

#include "base/errors.h"
#include "base/files.h"

namespace decant::data {

namespace {

constexpr std::size_t kLeastKeyBytes = 16, kMostKeyBytes = 65'536, kPseudonymBytes = 16, kFingerprintBytes = 8;
constexpr const char* kind_name(IdKind kind) { return kind == IdKind::kUser ? "user" : "item"; }

[[noreturn]] void fail(const fs::path& path, const char* what) {
  throw base::FileError(path.string(), std::string(what) + ": " + std::strerror(errno));
}

/// A descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return number_; }

 private:
  int number_;
};

/// A buffer that is zeroed when it goes.
struct Secret {
  std::array<unsigned char, kMostKeyBytes + 1> bytes{};
  std::size_t size = 0;
  Secret() = default;
  ~Secret() { sodium_memzero(bytes.data(), bytes.size()); }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
};

void read_key(const fs::path& path, Secret& secret) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) fail(path, "cannot open the key");
  struct stat facts {};
  if (::fstat(file.get(), &facts) != 0) fail(path, "cannot look at the key");
  if ((facts.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    throw base::ConfigError(path.string() + ": others than its owner may use this key: chmod 600 it");
  ssize_t got = 0;
  do {
    got = ::read(file.get(), secret.bytes.data() + secret.size, secret.bytes.size() - secret.size);
    if (got > 0) secret.size += static_cast<std::size_t>(got);
  } while (got > 0 || (got < 0 && errno == EINTR));
  if (got < 0) fail(path, "cannot read the key");
  if (secret.size < kLeastKeyBytes || secret.size > kMostKeyBytes)
    throw base::ConfigError(path.string() +
                            ": a key has 16 to 65,536 bytes (head -c 32 /dev/urandom makes a good one)");
}

std::string hex_of(std::span<const unsigned char> bytes) {
  std::string text(2 * bytes.size() + 1, '\0');
  sodium_bin2hex(text.data(), text.size(), bytes.data(), bytes.size());
  text.pop_back();
  return text;
}

/// The user of a session is before its last '#'.
std::string_view without_session(std::string_view name) { return name.substr(0, 2 * kPseudonymBytes); }

void write_all(int file, std::string_view text, const fs::path& path) {
  while (!text.empty()) {
    const ssize_t put = ::write(file, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail(path, "cannot write the map");
    text.remove_prefix(static_cast<std::size_t>(put));
  }
}

}  // namespace

void PseudonymOptions::describe(base::Fields& fields) {
  fields.text(
      "key_file", key_file,
      "a file of at least 16 bytes that only its owner may read: ids are replaced by a hash with this key; empty: "
      "they stay as they are");
  fields.flag("users", users, "users' ids are replaced, where there is a key");
  fields.flag("items", items, "items' ids are replaced, where there is a key");
  fields.text("map", map, "a file, outside of the dataset, to write pseudonyms and ids to; empty: none is written");
}

void PseudonymOptions::check() const {
  if (!on() && !map.empty()) throw base::ConfigError("'pseudonyms.map' needs a key in 'pseudonyms.key_file'");
  if (on() && !users && !items)
    throw base::ConfigError("'pseudonyms.key_file' is given, and neither users nor items are to be replaced");
}

Pseudonyms::Pseudonyms(const fs::path& key_file) {
  if (sodium_init() < 0) throw base::ConfigError("libsodium cannot be used here");
  Secret secret;
  read_key(key_file, secret);
  crypto_generichash(key_.data(), key_.size(), secret.bytes.data(), secret.size, nullptr, 0);
  std::array<unsigned char, kPseudonymBytes> hash{};  // the least that the library offers
  constexpr std::string_view kPurpose = "fingerprint";
  crypto_generichash(hash.data(), hash.size(), reinterpret_cast<const unsigned char*>(kPurpose.data()), kPurpose.size(),
                     key_.data(), key_.size());
  fingerprint_ = hex_of(std::span(hash).first(kFingerprintBytes));
}

Pseudonyms::~Pseudonyms() { sodium_memzero(key_.data(), key_.size()); }

std::string Pseudonyms::of(IdKind kind, std::string_view id) const {
  std::string text = kind_name(kind);
  text.push_back('\0');
  text.append(id);
  std::array<unsigned char, kPseudonymBytes> hash{};
  crypto_generichash(hash.data(), hash.size(), reinterpret_cast<const unsigned char*>(text.data()), text.size(),
                     key_.data(), key_.size());
  return hex_of(hash);
}

TextColumn Pseudonyms::of(IdKind kind, const TextColumn& ids) const {
  TextColumn out;
  for (std::int64_t i = 0; i < ids.size(); ++i) out.push_back(of(kind, ids.at(i)));
  return out;
}

PseudonymImport::PseudonymImport(const PseudonymOptions& options, const fs::path& out) : options_(options) {
  options.check();
  if (!options.on()) return;
  if (!options.map.empty() && !out.empty()) {
    const auto inner = fs::weakly_canonical(options.map), outer = fs::weakly_canonical(out);
    if (const auto ends = std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first;
        ends == outer.end())
      throw base::ConfigError("'pseudonyms.map' is " + options.map +
                              ", which lies in the dataset: whoever gets the dataset would get the ids");
  }
  pseudonyms_.emplace(options.key_file);
}

std::function<std::string(std::string_view)> PseudonymImport::of(IdKind kind) const {
  if (!pseudonyms_ || !(kind == IdKind::kUser ? options_.users : options_.items)) return {};
  return [this, kind](std::string_view id) { return pseudonyms_->of(kind, id); };
}

void PseudonymImport::replace(TextColumn& users, TextColumn& items) {
  if (!pseudonyms_) return;
  if (options_.users) replace(IdKind::kUser, users, users_);
  if (options_.items) replace(IdKind::kItem, items, items_);
}

void PseudonymImport::replace(IdKind kind, TextColumn& ids, Pairs& pairs) {
  TextColumn replaced = pseudonyms_->of(kind, ids);
  if (!options_.map.empty())
    for (std::int64_t i = 0; i < ids.size(); ++i) pairs.emplace_back(replaced.at(i), ids.at(i));
  ids = std::move(replaced);
}

void PseudonymImport::write_map(const TextColumn& users, const TextColumn& items) const {
  if (!pseudonyms_ || options_.map.empty()) return;
  const fs::path path = options_.map, beside = path.string() + ".tmp";
  ::unlink(beside.c_str());
  const Descriptor file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR));
  if (file.get() < 0) fail(beside, "cannot make the map");
  std::string text;
  for (const auto& [kind, ids, pairs] :
       {std::tuple(IdKind::kUser, &users, &users_), {IdKind::kItem, &items, &items_}}) {
    std::unordered_set<std::string_view> left;
    for (std::int64_t i = 0; i < ids->size(); ++i) left.insert(without_session(ids->at(i)));
    for (const auto& [pseudonym, id] : *pairs)
      if (left.contains(pseudonym))
        text.append(kind_name(kind)).append("\t").append(pseudonym).append("\t").append(id).append("\n");
  }
  write_all(file.get(), text, beside);
  if (::fsync(file.get()) != 0) fail(beside, "cannot write the map");
  base::replace_path(beside, path);
}

base::Json PseudonymImport::facts() const {
  if (!pseudonyms_) return {};
  return {{"users", options_.users}, {"items", options_.items}, {"key_fingerprint", pseudonyms_->fingerprint()}};
}

PseudonymFacts pseudonym_facts(const fs::path& dataset) {
  const auto manifest = base::load_document(dataset / kManifestName, kDatasetFormat, kDatasetVersion);
  const auto import = manifest.find("import");
  if (import == manifest.end() || !import->is_object() || !import->contains("pseudonyms")) return {};
  const auto& tree = import->at("pseudonyms");
  return {tree.value("users", false), tree.value("items", false), tree.value("key_fingerprint", std::string())};
}

std::unique_ptr<Pseudonyms> pseudonyms_of(const fs::path& dataset, const fs::path& key_file) {
  if (key_file.empty()) return nullptr;
  const auto facts = pseudonym_facts(dataset);
  if (facts.fingerprint.empty())
    throw base::ConfigError("a key is given, and the ids of " + dataset.string() + " are as they came");
  auto pseudonyms = std::make_unique<Pseudonyms>(key_file);
  if (pseudonyms->fingerprint() != facts.fingerprint)
    throw base::ConfigError(key_file.string() + " is another key (fingerprint " + pseudonyms->fingerprint() +
                            ") than that of the ids of " + dataset.string() + " (" + facts.fingerprint + ")");
  return pseudonyms;
}

}  // namespace decant::data
