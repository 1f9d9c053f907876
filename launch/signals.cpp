#include "launch/signals.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string_view>

namespace decant::launch {

namespace {

constexpr std::array kSignals{SIGINT, SIGTERM, SIGUSR1};
constexpr int kInterrupted = 130;  // 128 + SIGINT, as shells count

// A handler is given nothing but a number, so what it touches cannot be passed to it.
std::atomic<bool> stop{false}, loud{false};
std::atomic<int> interrupts{0};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

void handle(int signal) {
  constexpr std::string_view kText = "\ndecant: stopping at the next step (a second Ctrl-C leaves at once)\n";
  const int saved = errno;
  if (signal == SIGINT && ++interrupts > 1) ::_exit(kInterrupted);
  // Only a person at the keyboard waits for an answer; SIGTERM may also be mpirun's, after another rank has failed.
  if (!stop.exchange(true) && loud && signal == SIGINT) {
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, kText.data(), kText.size());
  }
  errno = saved;
}

void handle_all(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;  // reads and writes go on: stopping is the step's business
  sigemptyset(&action.sa_mask);
  for (const int signal : kSignals) ::sigaction(signal, &action, nullptr);
}

void mask_stop_signal(int how) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  ::pthread_sigmask(how, &set, nullptr);
}

}  // namespace

void hold_stop_signal() { mask_stop_signal(SIG_BLOCK); }

Signals::Signals(bool speaks) {
  stop = false;
  interrupts = 0;
  loud = speaks;
  handle_all(&handle);
  mask_stop_signal(SIG_UNBLOCK);
}

Signals::~Signals() { handle_all(SIG_DFL); }

const std::atomic<bool>& Signals::stop_requested() const { return stop; }

}  // namespace decant::launch
