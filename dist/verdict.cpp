#include "dist/verdict.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

namespace decant::dist {

namespace {

std::string seconds(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f s", value);
  return text.data();
}

std::string title(const std::optional<CollectiveBrief>& brief, std::int64_t sequence) {
  return std::string(brief ? name_of(brief->kind) : "collective") + " #" + std::to_string(sequence);
}

std::string title_and_bytes(const std::optional<CollectiveBrief>& brief, std::int64_t sequence) {
  return title(brief, sequence) + (brief ? " of " + std::to_string(brief->bytes) + " bytes" : "");
}

/// Where a rank is, without how long.
std::string place_of(const Standing& standing) {
  const std::string place = standing.place.text();
  if (standing.waiting >= 0)
    return "in " + title_and_bytes(standing.brief(standing.waiting), standing.waiting) +
           (place.empty() ? "" : " (" + place + ")");
  const std::string after = standing.begun == 0
                                ? "before any collective"
                                : "after " + title(standing.brief(standing.begun - 1), standing.begun - 1);
  return (place.empty() ? "" : "at " + place + ", ") + after;
}

/// "rank 1 (node7, process 4711)".
std::string name_of(const PeerState& peer) {
  return "rank " + std::to_string(peer.who.rank) + " (" + peer.who.host + ", process " + std::to_string(peer.who.pid) +
         ")";
}

void append(std::string& text, const std::string& more) { text += (text.empty() ? "" : "; ") + more; }

/// "rank 2", "ranks 0, 2-5".
std::string list_of(const std::vector<int>& ranks) {
  std::string out;
  for (std::size_t i = 0; i < ranks.size();) {
    std::size_t last = i;
    while (last + 1 < ranks.size() && ranks[last + 1] == ranks[last] + 1) ++last;
    if (!out.empty()) out += ", ";
    out += std::to_string(ranks[i]);
    if (last > i) out += "-" + std::to_string(ranks[last]);
    i = last + 1;
  }
  return std::string(ranks.size() == 1 ? "rank " : "ranks ") + out;
}

std::string tell_missing(const std::vector<PeerState>& ranks, RecorderClock::time_point now) {
  std::string out;
  for (const PeerState& peer : ranks) {
    if (!peer.known || (!peer.gone && !peer.silent)) continue;
    const double ago = std::chrono::duration<double>(now - peer.heard).count();
    append(out, name_of(peer) + (peer.gone ? " is gone" : " has stopped answering") + ": when last heard of, " +
                    seconds(ago) + " ago, it was " + place_of(peer.standing));
  }
  return out;
}

bool present(const PeerState& peer) { return peer.known && !peer.gone && !peer.silent && !peer.left; }

/// Ranks that live but have not come to what others wait for.
std::vector<const PeerState*> late_ranks(const std::vector<PeerState>& ranks) {
  std::int64_t wanted = -1;
  for (const PeerState& peer : ranks)
    if (present(peer)) wanted = std::max(wanted, peer.standing.waiting);
  std::vector<const PeerState*> late;
  for (const PeerState& peer : ranks)
    if (present(peer) && peer.standing.begun <= wanted) late.push_back(&peer);
  return late;
}

std::string tell_late(const std::vector<const PeerState*>& late) {
  std::string out;
  for (const PeerState* peer : late)
    append(out,
           name_of(*peer) + " does not come to the collective that others wait for: it is " + place_of(peer->standing));
  return out;
}

/// `late`: whether somebody is known to be, which a time-out only repeats.
std::string tell_troubles(const std::vector<PeerState>& ranks, bool late) {
  std::string out;
  for (const PeerState& peer : ranks)
    if (!peer.trouble.empty() && !(late && peer.trouble.find("time-out") != std::string::npos))
      append(out, "rank " + std::to_string(peer.who.rank) + ": " + peer.trouble);
  return out;
}

/// Those that are there but for `told`, by where they are: ranks that wait for the same are told in one breath.
std::string tell_others(const std::vector<PeerState>& ranks, const std::vector<const PeerState*>& told) {
  constexpr std::size_t kMostGroups = 4;
  struct Group {
    std::string place;
    std::vector<int> ranks;
    std::int64_t waited_ms = 0;
  };
  std::vector<Group> groups;
  for (const PeerState& peer : ranks) {
    if (!present(peer) || std::find(told.begin(), told.end(), &peer) != told.end()) continue;
    const std::string place = place_of(peer.standing);
    auto at = std::find_if(groups.begin(), groups.end(), [&](const Group& group) { return group.place == place; });
    if (at == groups.end()) at = groups.insert(at, Group{place, {}, 0});
    at->ranks.push_back(peer.who.rank);
    at->waited_ms = std::max(at->waited_ms, peer.standing.waited_ms);
  }
  std::string out;
  for (std::size_t g = 0; g < std::min(groups.size(), kMostGroups); ++g) {
    const Group& group = groups[g];
    append(out, list_of(group.ranks) + (group.ranks.size() == 1 ? " is " : " are ") + group.place +
                    (group.waited_ms > 0 ? " for " + seconds(static_cast<double>(group.waited_ms) / 1000) : ""));
  }
  return groups.size() > kMostGroups ? out + "; others are elsewhere (see their logs)" : out;
}

}  // namespace

std::string describe(const Standing& standing) {
  return place_of(standing) +
         (standing.waiting >= 0 ? " for " + seconds(static_cast<double>(standing.waited_ms) / 1000) : "");
}

std::optional<std::string> find_mismatch(const FlightRecorder& own, int rank, int other, const Standing& theirs) {
  const auto ranks = "ranks " + std::to_string(rank) + " and " + std::to_string(other);
  const auto cure = ": do all ranks have the same job, data and decant?";
  for (std::int64_t n = std::max<std::int64_t>(0, theirs.begun - Standing::kBriefs); n < theirs.begun; ++n) {
    const auto mine = own.find(n);
    const auto brief = theirs.brief(n);
    if (!mine || !brief) continue;
    if (mine->kind == brief->kind && (mine->bytes == brief->bytes || !same_bytes_everywhere(mine->kind))) continue;
    return ranks + " are in different collectives: #" + std::to_string(n) + " is " + std::string(name_of(mine->kind)) +
           " of " + std::to_string(mine->bytes) + " bytes on rank " + std::to_string(rank) + " (" + mine->place.text() +
           ") and " + std::string(name_of(brief->kind)) + " of " + std::to_string(brief->bytes) + " bytes on rank " +
           std::to_string(other) + " (" + theirs.place.text() + ")" + cure;
  }
  if (const auto mine = own.find(theirs.begun - 1); mine && mine->hash != theirs.hash)
    return ranks + " have been in different collectives before #" +
           std::to_string(std::max<std::int64_t>(0, theirs.begun - Standing::kBriefs)) + cure;
  return std::nullopt;
}

std::string judge(const std::vector<PeerState>& ranks, const std::string& first, RecorderClock::time_point now) {
  std::string out = first;
  std::vector<const PeerState*> late;
  if (const std::string missing = tell_missing(ranks, now); !missing.empty()) {
    append(out, missing);
  } else if (out.empty()) {
    late = late_ranks(ranks);
    out = tell_late(late);
    if (const std::string troubles = tell_troubles(ranks, !late.empty()); !troubles.empty()) append(out, troubles);
  }
  if (const std::string others = tell_others(ranks, late); !others.empty()) append(out, others);
  return out;
}

}  // namespace decant::dist
