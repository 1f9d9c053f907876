// What a rank of an import hands to the one that writes the dataset: events by way of a file, texts by way of messages.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/event_log.h"
#include "data/scratch_file.h"

namespace decant::data {

/// Some events in the order of their log.
void write_events(ScratchFile& file, std::span<const EventLog::Run> runs, UserEvents& events);
/// The next ones; false when there are no more. REQUIRES: `events` has the shape of those that were written.
[[nodiscard]] bool read_events(ScratchFile& file, std::vector<EventLog::Run>& runs, UserEvents& events);

/// Texts from number `next` on, as many as go into one message; moves `next`.
[[nodiscard]] std::string pack_texts(const TextColumn& texts, std::int64_t& next);
/// Numbers the texts of such a message by `table`, and adds the numbers to `numbers`. True when another message follows.
bool unpack_texts(std::string_view message, StringTable& table, std::vector<std::uint32_t>& numbers);
[[nodiscard]] inline bool more_texts(std::string_view message) { return message.front() != 0; }

}  // namespace decant::data
