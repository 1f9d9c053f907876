#include "data/event_blocks.h"

#include <array>
#include <utility>

namespace decant::data {

namespace {

template <class T>
std::span<std::byte> bytes(std::vector<T>& values) {
  return std::as_writable_bytes(std::span(values));
}

}  // namespace

std::unique_ptr<ScratchFile> EventStorage::make(const std::string& what) const {
  return std::make_unique<ScratchFile>(folder.path() / ("." + std::string(kEventsName) + ".tmp-" + what), buffer_bytes);
}

EventBlocks::EventBlocks(UserEvents whole) : whole_(std::move(whole)) { count(whole_); }

EventBlocks::EventBlocks(EventStorage storage)
    : storage_(std::make_unique<EventStorage>(storage)), file_(storage.make("blocks-0")) {}

void EventBlocks::discard() {
  file_.reset();
  whole_ = {};
}

void EventBlocks::count(const UserEvents& block) {
  rows_ += static_cast<std::int64_t>(block.size());
  events_ += static_cast<std::int64_t>(block.items.size());
}

void EventBlocks::append(UserEvents& block) {
  count(block);
  write(block);
}

void EventBlocks::write(UserEvents& block) {
  shape_ = block.shape;
  if (block.rows.empty()) return;
  const std::array<std::uint64_t, 2> sizes{block.rows.size(), block.items.size()};
  file_->write(std::as_bytes(std::span(sizes)));
  file_->write(bytes(block.rows));
  file_->write(bytes(block.offsets));
  block.visit_arrays([&](auto& values) { file_->write(bytes(values)); });
}

bool EventBlocks::read(ScratchFile& file, UserEvents& block) {
  std::array<std::uint64_t, 2> sizes{};
  if (!file.read_next(std::as_writable_bytes(std::span(sizes)))) return false;
  block.rows.resize(sizes[0]);
  block.offsets.resize(sizes[0] + 1);
  block.resize_events(sizes[1]);
  file.read(bytes(block.rows));
  file.read(bytes(block.offsets));
  block.visit_arrays([&](auto& values) { file.read(bytes(values)); });
  return true;
}

void EventBlocks::visit(const std::function<void(UserEvents&)>& visit) {
  if (storage_ == nullptr) return visit(whole_);
  UserEvents block(shape_);
  for (file_->rewind(); read(*file_, block);) visit(block);
}

void EventBlocks::change(const Change& change) {
  rows_ = events_ = 0;
  if (storage_ == nullptr) {
    change(whole_);
    return count(whole_);
  }
  const auto before = std::exchange(file_, storage_->make("blocks-" + std::to_string(++files_)));
  UserEvents block(shape_);
  for (before->rewind(); read(*before, block);) {
    change(block);
    append(block);
  }
}

}  // namespace decant::data
