// What was read last, kept up to a bound.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace decant::data {

/// Values by number, the least recently used dropped when their sizes exceed `capacity` together; the newest one stays
/// even when it alone does. A dropped value lives on with those who hold it. Thread-safe.
template <class Value>
class LruCache {
 public:
  using Pointer = std::shared_ptr<const Value>;

  explicit LruCache(std::size_t capacity) : capacity_(capacity) {}

  /// `load` makes a value that is absent and says its size; one load at a time, hits do not wait for it.
  template <class Load>
  [[nodiscard]] Pointer get(std::uint64_t key, const Load& load) {
    if (Pointer hit = find(key)) return hit;
    const std::lock_guard loading(load_mutex_);
    if (Pointer hit = find(key)) return hit;  // made while this thread waited
    std::pair<Pointer, std::size_t> made = load();
    insert(key, made.first, made.second);
    return std::move(made.first);
  }

 private:
  struct Entry {
    std::uint64_t key;
    Pointer value;
    std::size_t size;
  };

  [[nodiscard]] Pointer find(std::uint64_t key) {
    const std::lock_guard lock(mutex_);
    const auto at = index_.find(key);
    if (at == index_.end()) return nullptr;
    order_.splice(order_.begin(), order_, at->second);
    return at->second->value;
  }

  void insert(std::uint64_t key, const Pointer& value, std::size_t size) {
    std::list<Entry> dropped;  // destroyed after the lock is released
    const std::lock_guard lock(mutex_);
    order_.push_front({key, value, size});
    index_[key] = order_.begin();
    size_ += size;
    while (size_ > capacity_ && order_.size() > 1) {
      size_ -= order_.back().size;
      index_.erase(order_.back().key);
      dropped.splice(dropped.begin(), order_, std::prev(order_.end()));
    }
  }

  std::size_t capacity_, size_ = 0;
  std::mutex mutex_, load_mutex_;
  std::list<Entry> order_;  // newest first
  std::unordered_map<std::uint64_t, typename std::list<Entry>::iterator> index_;
};

}  // namespace decant::data
