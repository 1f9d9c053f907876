#include "launch/failure.h"

#include <c10/util/Exception.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <new>

#include "base/options.h"
#include "launch/environment.h"

namespace decant::launch {

namespace {

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

Failure current_failure() {
  constexpr int kUnexpected = static_cast<int>(base::ExitCode::kUnexpected);
  try {
    throw;
  } catch (const base::Error& error) {
    return {static_cast<int>(error.code()), error.what()};
  } catch (const c10::Error& error) {
    // What follows the first line is a stack trace.
    return {kUnexpected, "LibTorch: " + first_line(error.what_without_backtrace())};
  } catch (const std::filesystem::filesystem_error& error) {
    return {static_cast<int>(base::ExitCode::kData), error.path1().string() + ": " + error.code().message()};
  } catch (const std::bad_alloc&) {
    return {kUnexpected, "out of memory"};
  } catch (const std::exception& error) {
    return {kUnexpected, "unexpected: " + first_line(error.what())};
  } catch (...) {
    return {kUnexpected, "unexpected: an exception without a message"};
  }
}

void print_failure(const std::string& text, const std::string& place) {
  std::string line = "decant: " + (place.empty() ? "" : "[" + place + "] ") + text;
  std::replace(line.begin(), line.end(), '\n', ' ');
  line += '\n';
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

std::string place_of(int rank, int size) {
  return "rank " + std::to_string(rank) + "/" + std::to_string(size) + " " + host_name();
}

void agree(dist::Communicator& communicator, const std::function<void()>& work) {
  base::Json mine;
  const int rank = communicator.rank(), size = communicator.size();
  try {
    work();
  } catch (...) {
    const Failure failure = current_failure();
    mine = {failure.code, failure.text, place_of(rank, size)};
  }
  // Messages may quote bytes that are not UTF-8.
  const std::string told = mine.dump(-1, ' ', false, base::Json::error_handler_t::replace);
  std::vector<base::Json> failures;
  for (const std::string& text : communicator.gather_bytes(told))
    if (base::Json theirs = base::Json::parse(text); !theirs.is_null()) failures.push_back(std::move(theirs));
  if (failures.empty()) return;
  const base::Json& first = failures.front();
  const bool alike =
      std::all_of(failures.begin(), failures.end(), [&](const auto& other) { return other[1] == first[1]; });
  // What all of them say needs no name of the one who said it.
  const bool everybody = alike && failures.size() == static_cast<std::size_t>(size);
  const auto text = first[1].get<std::string>();
  throw CommonError(static_cast<base::ExitCode>(first[0].get<int>()),
                    everybody ? text : "[" + first[2].get<std::string>() + "] " + text, rank == 0);
}

}  // namespace decant::launch
