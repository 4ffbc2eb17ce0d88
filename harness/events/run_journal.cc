#include "harness/events/run_journal.h"

#include <fcntl.h>
#include <google/protobuf/util/time_util.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "harness/report/json.h"

namespace panicroom::harness {
namespace {

static_assert(std::endian::native == std::endian::little);

using Length = std::uint32_t;

}  // namespace

Result<std::unique_ptr<RunJournal>> RunJournal::create(const std::filesystem::path& path) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!fd) return errno_error(errno, fmt::format("creating {}", path.native()));
  return std::unique_ptr<RunJournal>(new RunJournal(path, std::move(fd)));
}

void RunJournal::write(v1::RunEvent event) {
  // Guests and files wrote some of the strings; protobuf does not read back what is not UTF-8.
  make_utf8(event);
  const std::lock_guard lock(mutex_);
  if (!status_) return;
  event.set_sequence(sequence_ + 1);
  *event.mutable_time() = google::protobuf::util::TimeUtil::GetCurrentTime();
  if (const auto size = event.ByteSizeLong(); size > kMaxRunEventBytes) {
    event.mutable_notice()->set_text(fmt::format("an event of {} bytes was left out", size));
  }
  std::string record(sizeof(Length), '\0');
  const auto length = static_cast<Length>(event.ByteSizeLong());
  std::memcpy(record.data(), &length, sizeof(length));
  event.AppendToString(&record);
  status_ = append(record);
  if (status_) ++sequence_;
}

Result<> RunJournal::append(const std::string& record) {
  std::size_t done = 0;
  while (done < record.size()) {
    const ssize_t put = ::write(fd_.get(), record.data() + done, record.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) {
      auto error = errno_error(errno, fmt::format("writing {}", path_.native()));
      // What is there of the event now is no event.
      static_cast<void>(!::ftruncate(fd_.get(), static_cast<off_t>(bytes_)));
      return error;
    }
    done += static_cast<std::size_t>(put);
  }
  bytes_ += record.size();
  return {};
}

Result<> RunJournal::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

Result<RunJournalReader> RunJournalReader::open(const std::filesystem::path& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd)
    return Error(ErrorKind::kInvalidInput, errno_error(errno, fmt::format("opening {}", path.native())).message());
  return RunJournalReader(std::move(fd));
}

Result<std::optional<std::size_t>> RunJournalReader::length() {
  Length length = 0;
  const ssize_t got = ::pread(fd_.get(), &length, sizeof(length), static_cast<off_t>(offset_));
  if (got < 0) return errno_error(errno, "reading a run's journal");
  if (got < static_cast<ssize_t>(sizeof(length))) return std::optional<std::size_t>();
  if (length > kMaxRunEventBytes) return host_error("a run's journal is damaged behind event {}", sequence_);
  struct stat status {};
  if (::fstat(fd_.get(), &status) != 0) return errno_error(errno, "reading a run's journal");
  if (static_cast<std::uint64_t>(status.st_size) - offset_ < sizeof(length) + length)
    return std::optional<std::size_t>();
  return std::optional<std::size_t>(length);
}

Result<std::optional<v1::RunEvent>> RunJournalReader::next() {
  const auto bytes = TRY(length());
  if (!bytes) return std::optional<v1::RunEvent>();
  std::string text(*bytes, '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t got =
        ::pread(fd_.get(), text.data() + done, text.size() - done, static_cast<off_t>(offset_ + sizeof(Length) + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(errno, "reading a run's journal");
    if (got == 0) return host_error("a run's journal has become shorter");
    done += static_cast<std::size_t>(got);
  }
  v1::RunEvent event;
  if (!event.ParseFromString(text) || event.sequence() != sequence_ + 1) {
    return host_error("a run's journal is damaged behind event {}", sequence_);
  }
  offset_ += sizeof(Length) + *bytes;
  ++sequence_;
  return std::optional<v1::RunEvent>(std::move(event));
}

Result<bool> RunJournalReader::skip() {
  const auto bytes = TRY(length());
  if (!bytes) return false;
  offset_ += sizeof(Length) + *bytes;
  ++sequence_;
  return true;
}

Result<std::optional<v1::RunEvent>> last_run_event(const std::filesystem::path& path) {
  auto ahead = RunJournalReader::open(path);
  if (!ahead) return std::optional<v1::RunEvent>();
  auto behind = TRY(RunJournalReader::open(path));
  if (!TRY(ahead->skip())) return std::optional<v1::RunEvent>();
  while (TRY(ahead->skip())) TRY(behind.skip());
  return behind.next();
}

}  // namespace panicroom::harness
