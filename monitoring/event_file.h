// Event files as TensorBoard reads them. Framing: TFRecord (tensorflow.org/tutorials/load_data/tfrecord). Content: the
// messages Event, Summary and SessionLog of tensorboard/compat/proto/{event,summary}.proto in protobuf's wire format.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace decant::monitoring {

/// CRC-32C (Castagnoli, RFC 3720).
[[nodiscard]] std::uint32_t crc32c(std::string_view bytes);

/// One record: length, masked checksum of the length, bytes, masked checksum of the bytes; little-endian.
[[nodiscard]] std::string tf_record(std::string_view bytes);

/// Event that opens a file: says that version 2 of the format follows. `wall_time`: seconds since 1970.
[[nodiscard]] std::string version_event(double wall_time);

/// Event that says: what other files say of `step` and later ones is no longer so.
[[nodiscard]] std::string restart_event(double wall_time, std::int64_t step);

[[nodiscard]] std::string scalar_event(double wall_time, std::int64_t step, std::string_view tag, float value);

/// Name of a file, by which TensorBoard knows it and orders it among its neighbours:
/// events.out.tfevents.<seconds>.<microseconds>.<host>.<process>.<count>.
[[nodiscard]] std::string event_file_name(double wall_time, std::uint64_t count);

}  // namespace decant::monitoring
