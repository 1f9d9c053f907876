#include "dist/exchange_clock.h"

#include <c10/core/impl/VirtualGuardImpl.h>

namespace decant::dist {

namespace {

c10::Stream current_stream(c10::Device device) { return c10::impl::VirtualGuardImpl(device.type()).getStream(device); }

}  // namespace

StreamSpan::StreamSpan(c10::Device device)
    : device_(device),
      begin_(device.type(), c10::EventFlag::BACKEND_DEFAULT),
      end_(device.type(), c10::EventFlag::BACKEND_DEFAULT) {}

void StreamSpan::begin() { begin_.record(current_stream(device_)); }

void StreamSpan::end() { end_.record(current_stream(device_)); }

void ExchangeClock::begin_step() {
  busy_seconds_ = 0;
  departures_ = on_the_way_ = 0;
  if (wait_span_ && wait_span_->passed() && (!exchange_span_ || exchange_span_->passed())) {
    exposed_seconds_ = wait_span_->seconds();
    exchange_seconds_ = exchange_span_ ? exchange_span_->seconds() : 0;
    wait_span_.reset();
    exchange_span_.reset();
  }
  measuring_ = !device_.is_cpu() && !wait_span_;  // when what was measured last has been read
}

void ExchangeClock::departed() {
  if (on_the_way_++ == 0) busy_since_ = Clock::now();
  if (departures_++ == 0 && measuring_) exchange_span_.emplace(device_).begin();
}

void ExchangeClock::arrived() {
  if (--on_the_way_ == 0) busy_seconds_ += std::chrono::duration<double>(Clock::now() - busy_since_).count();
}

void ExchangeClock::wait_begins(double waited_seconds) {
  waited_before_ = waited_seconds;
  if (measuring_) wait_span_.emplace(device_).begin();
}

void ExchangeClock::wait_ends(double waited_seconds) {
  if (device_.is_cpu()) {
    exposed_seconds_ = waited_seconds - waited_before_;
    exchange_seconds_ = busy_seconds_;
  } else if (measuring_) {
    wait_span_->end();
    if (exchange_span_) exchange_span_->end();
  }
}

}  // namespace decant::dist
