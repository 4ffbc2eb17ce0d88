// The events of a whole run in one file, written while they happen: what a run's process hands to the service. Each
// event is its length in bytes, four of them with the least significant first, and a serialised v1::RunEvent. A process
// that was killed leaves its last event cut off; all before it are whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/file.h"
#include "base/result.h"
#include "panicroom/v1/run_events.pb.h"

namespace panicroom::harness {

// The journal's name in the folder that the service keeps of a run.
inline constexpr const char* kRunJournalFile = "journal";

// Well below what a gRPC client takes in one message.
inline constexpr std::size_t kMaxRunEventBytes = std::size_t{1} << 20;

// Thread-safe.
class RunJournal {
 public:
  // Creates the file, empty.
  static Result<std::unique_ptr<RunJournal>> create(const std::filesystem::path& path);

  // Gives the event its number and its time, and appends it. One that is larger than kMaxRunEventBytes becomes a
  // notice. After an error (a full disk) nothing more is written, and the file ends in a whole event.
  void write(v1::RunEvent event);
  // The first error of any write().
  [[nodiscard]] Result<> status() const;

 private:
  RunJournal(std::filesystem::path path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  Result<> append(const std::string& record);

  std::filesystem::path path_;
  UniqueFd fd_;
  mutable std::mutex mutex_;  // What follows.
  std::uint64_t sequence_ = 0;
  std::uint64_t bytes_ = 0;
  Result<> status_;
};

// Reads a journal from its beginning, also while it is being written. One thread at a time. Movable.
class RunJournalReader {
 public:
  // kInvalidInput if there is no such file.
  static Result<RunJournalReader> open(const std::filesystem::path& path);

  // The next event, once it is there as a whole; nothing before that. kHost if the file cannot be read, or is none of
  // RunJournal's.
  Result<std::optional<v1::RunEvent>> next();
  // Goes past it without looking at it; false if it is not there yet.
  Result<bool> skip();
  // How many events have been read or gone past: the number of the last one.
  [[nodiscard]] std::uint64_t sequence() const { return sequence_; }

 private:
  explicit RunJournalReader(UniqueFd fd) : fd_(std::move(fd)) {}

  // The length of the event at offset_, which is there as a whole.
  Result<std::optional<std::size_t>> length();

  UniqueFd fd_;
  std::uint64_t offset_ = 0;
  std::uint64_t sequence_ = 0;
};

// The last event that is there as a whole; nothing if there is none, or no such file.
Result<std::optional<v1::RunEvent>> last_run_event(const std::filesystem::path& path);

}  // namespace panicroom::harness
