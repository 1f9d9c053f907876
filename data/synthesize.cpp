#include "data/synthesize.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/random.h"
#include "data/fixed_point.h"

namespace decant::data {

namespace {

/// What a key is for; the draws of one use say nothing of another's.
enum Site : std::uint64_t { kUserSite = 1, kSuccessorSite = 2 };

/// A probability as a bound on 53 random bits; multiplying by a power of two is exact.
std::uint64_t bound_of(double probability) { return static_cast<std::uint64_t>(probability * 0x1.0p53); }

/// The planted structure: which item belongs where, how popular it is, what follows it. Item i is number i / categories
/// of category i % categories, in order of popularity.
class World {
 public:
  explicit World(const SynthesizeOptions& options)
      : items_(static_cast<std::uint64_t>(options.items)),
        categories_(static_cast<std::uint64_t>(options.categories)),
        seed_(static_cast<std::uint64_t>(options.seed)) {
    const auto exponent = static_cast<std::uint64_t>(options.zipf * 65536.0);
    const std::uint64_t largest = (items_ + categories_ - 1) / categories_;
    std::uint64_t sum = 0;
    for (std::uint64_t rank = 0; rank < largest; ++rank) {
      // (rank + 1)^-zipf, in units of 2^-30 so that the sum of 2^32 items fits; never 0, so every item can occur.
      const auto log =
          static_cast<std::uint64_t>((static_cast<unsigned __int128>(fixed_log2(rank + 1)) * exponent) >> 16);
      sum += std::max<std::uint64_t>(1, fixed_exp2_negative(log) >> 32);
      cumulated_.push_back(sum);
    }
    successors_.reserve(items_);
    for (std::uint64_t item = 0; item < items_; ++item)
      successors_.push_back(static_cast<std::uint32_t>(plant_successor(item)));
  }

  [[nodiscard]] std::uint64_t items() const { return items_; }
  [[nodiscard]] std::uint64_t categories() const { return categories_; }
  [[nodiscard]] std::uint64_t successor(std::uint64_t item) const { return successors_[item]; }

  /// An item of the category, by popularity.
  [[nodiscard]] std::uint64_t popular(std::uint64_t category, std::uint64_t bits) const {
    const auto end = cumulated_.begin() + static_cast<std::ptrdiff_t>(size_of(category));
    const std::uint64_t place = base::below(bits, *(end - 1));
    const auto rank = static_cast<std::uint64_t>(std::upper_bound(cumulated_.begin(), end, place) - cumulated_.begin());
    return rank * categories_ + category;
  }

 private:
  [[nodiscard]] std::uint64_t size_of(std::uint64_t category) const {
    return (items_ - category + categories_ - 1) / categories_;
  }
  /// Of the item's own category and by popularity, so that following successors keeps the long tail long; another item
  /// where there is one.
  [[nodiscard]] std::uint64_t plant_successor(std::uint64_t item) const {
    const std::uint64_t category = item % categories_;
    const std::uint64_t found = popular(category, base::draw(base::key_of(seed_, kSuccessorSite), item));
    if (found != item) return found;
    const std::uint64_t next = item + categories_;
    return next < items_ ? next : category;
  }

  std::uint64_t items_, categories_, seed_;
  std::vector<std::uint64_t> cumulated_;  // popularity of ranks 0 to r of any category
  std::vector<std::uint32_t> successors_;
};

/// Events of one user, drawn one after the other from the user's own stream.
class User {
 public:
  User(const World& world, const SynthesizeOptions& options, std::uint64_t number)
      : world_(world), key_(base::key_of(static_cast<std::uint64_t>(options.seed), kUserSite, number)) {
    for (std::uint64_t& category : taste_) category = base::below(next(), world.categories());
    const double more = options.mean_length - 3.0;
    const std::uint64_t again = bound_of(more / (1.0 + more));
    length_ = 3;
    while (chance(again)) ++length_;
  }

  void append(std::string& text, std::uint64_t transitions, std::uint64_t noise) {
    std::uint64_t item = 0;
    for (std::uint64_t i = 0; i < length_; ++i) {
      const std::uint64_t kind = next() >> 11;
      if (kind < noise)
        item = base::below(next(), world_.items());
      else if (i > 0 && kind < noise + transitions)
        item = world_.successor(item);
      else
        item = world_.popular(category(), next());
      text += i == 0 ? "\ti" : " i";
      text += std::to_string(item);
    }
    text += '\n';
  }

 private:
  std::uint64_t next() { return base::draw(key_, drawn_++); }
  bool chance(std::uint64_t bound) { return next() >> 11 < bound; }
  /// Tastes weigh 4 : 2 : 1.
  std::uint64_t category() {
    const std::uint64_t place = base::below(next(), 7);
    return taste_[place < 4 ? 0 : place < 6 ? 1 : 2];
  }

  const World& world_;
  std::uint64_t key_, drawn_ = 0, length_ = 0;
  std::array<std::uint64_t, 3> taste_{};
};

/// A file under a temporary name, removed unless it was finished.
class TextFile {
 public:
  explicit TextFile(const std::filesystem::path& target) : target_(target), path_(target) {
    path_ += ".tmp";
    // Renaming over a folder or a device would destroy it.
    std::error_code error;
    if (std::filesystem::exists(target_, error) && !std::filesystem::is_regular_file(target_, error))
      throw base::FileError(target_.string(), "cannot be written: it is there and is no regular file");
    if (target_.has_parent_path()) std::filesystem::create_directories(target_.parent_path(), error);
    file_.reset(std::fopen(path_.c_str(), "wb"));
    if (!file_) fail("cannot make the file");
  }
  ~TextFile() {
    file_.reset();  // before the file is removed
    std::error_code error;
    std::filesystem::remove(path_, error);
  }
  TextFile(const TextFile&) = delete;
  TextFile& operator=(const TextFile&) = delete;

  void write(std::string& text) {
    if (std::fwrite(text.data(), 1, text.size(), file_.get()) != text.size()) fail("cannot write");
    text.clear();
  }
  void finish() {
    if (std::fflush(file_.get()) != 0) fail("cannot write");
    base::sync_path(path_);
    base::replace_path(path_, target_);
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw base::FileError(path_.string(), std::string(what) + ": " + std::strerror(errno));
  }
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::filesystem::path target_, path_;
  std::unique_ptr<std::FILE, Close> file_;
};

void check(const SynthesizeOptions& options) {
  if (options.users < 1 || options.items < 1 || options.categories < 1 || options.mean_length < 3 || options.zipf < 0 ||
      options.transitions < 0 || options.noise < 0)
    throw base::ConfigError("synthesize: an option is out of its range");
  if (options.categories > options.items)
    throw base::ConfigError("synthesize: " + std::to_string(options.categories) +
                            " categories need as many items, there are " + std::to_string(options.items));
  if (options.transitions + options.noise > 1)
    throw base::ConfigError("synthesize: transitions and noise are probabilities of one draw; their sum is over 1");
}

}  // namespace

void SynthesizeOptions::describe(base::Fields& fields) {
  fields.integer("users", users, {1, 4294967294.0}, "users, a line each");
  fields.integer("items", items, {1, 4294967294.0}, "items to draw from; rare ones may not occur");
  fields.integer("categories", categories, {1, 4294967294.0}, "categories the items are dealt to");
  fields.real("mean_length", mean_length, {3, 1e6}, "events a user on average: 3 and a geometric number more");
  fields.real("transitions", transitions, {0, 1}, "probability that the planted successor of the last item follows");
  fields.real("noise", noise, {0, 1}, "probability that any item follows");
  fields.real("zipf", zipf, {0, 8}, "exponent of the items' popularity within a category");
  fields.integer("seed", seed, {0, 9007199254740992.0}, "another seed, other data");
}

void synthesize(const SynthesizeOptions& options, const std::filesystem::path& out) {
  check(options);
  constexpr std::size_t kPieceBytes = std::size_t{1} << 20;
  const World world(options);
  const std::uint64_t noise = bound_of(options.noise), transitions = bound_of(options.transitions);
  TextFile file(out);
  std::string text;
  for (std::int64_t number = 0; number < options.users; ++number) {
    text += "u" + std::to_string(number);
    User(world, options, static_cast<std::uint64_t>(number)).append(text, transitions, noise);
    if (text.size() > kPieceBytes) file.write(text);
  }
  file.write(text);
  file.finish();
}

}  // namespace decant::data
