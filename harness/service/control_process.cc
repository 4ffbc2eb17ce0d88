#include "harness/service/control_process.h"

#include <fmt/format.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <span>
#include <system_error>
#include <utility>

namespace panicroom::service {
namespace {

namespace fs = std::filesystem;

Result<fs::path> make_folder(const fs::path& parent) {
  std::string name = (parent / "XXXXXX").native();
  if (::mkdtemp(name.data()) == nullptr) return errno_error(errno, fmt::format("making {}", name));
  return fs::path(name);
}

// The last thing that it said, for the server's log.
std::string last_line(const fs::path& file) {
  constexpr std::size_t kMost = 500;
  // It may have written anything, and any amount of it.
  std::ifstream stream(file, std::ios::binary | std::ios::ate);
  const std::streamoff size = stream.tellg();
  if (size <= 0) return {};
  stream.seekg(std::max<std::streamoff>(size - 8 * static_cast<std::streamoff>(kMost), 0));
  std::string text(8 * kMost, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  std::string_view left = text;
  while (left.ends_with('\n')) left.remove_suffix(1);
  left = left.substr(left.rfind('\n') + 1);
  return std::string(left.substr(0, kMost));
}

}  // namespace

Result<ControlProcess> ControlProcess::start(const std::vector<std::string>& program, const fs::path& parent) {
  auto folder = TRY(make_folder(parent));
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) return errno_error(errno, "socketpair");
  UniqueFd ours(ends[0]);
  const UniqueFd theirs(ends[1]);
  ChildCommand command;
  command.argv = program;
  command.argv.emplace_back("control-session");
  command.argv.push_back("--logs=" + folder.native());
  command.directory = folder;
  command.out = folder / "stdout.log";
  command.err = folder / "stderr.log";
  command.in = theirs.get();
  auto process = TRY(ChildProcess::prepare(command));
  TRY(process.go());
  return ControlProcess(std::move(process), std::move(ours), std::move(folder));
}

ControlProcess::ControlProcess(ControlProcess&& other) noexcept
    : process_(std::move(other.process_)),
      socket_(std::move(other.socket_)),
      folder_(std::exchange(other.folder_, {})),
      unsent_(std::move(other.unsent_)),
      frames_(std::move(other.frames_)) {
  other.process_.reset();
}

ControlProcess::~ControlProcess() {
  process_.reset();
  std::error_code ignored;
  if (!folder_.empty()) fs::remove_all(folder_, ignored);
}

Result<> ControlProcess::send(const v1::ControlRequest& request) {
  unsent_ += TRY(control::encode_frame(request));
  return {};
}

Result<> ControlProcess::flush() {
  while (!unsent_.empty()) {
    const auto sent = ::send(socket_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return {};
    if (sent < 0) return errno_error(errno, "writing to a session's process");
    unsent_.erase(0, static_cast<std::size_t>(sent));
  }
  return {};
}

Result<bool> ControlProcess::fill() {
  std::array<std::byte, std::size_t{16} * 1024> bytes{};
  while (true) {
    const auto got = ::recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
    // It may have died with requests of ours unread.
    if (got < 0 && errno == ECONNRESET) return false;
    if (got < 0) return errno_error(errno, "reading from a session's process");
    if (got == 0) return false;
    frames_.feed(std::span(bytes).first(static_cast<std::size_t>(got)));
    return true;
  }
}

Result<std::optional<v1::ControlResponse>> ControlProcess::next() {
  const auto frame = TRY(frames_.next());
  if (!frame) return std::optional<v1::ControlResponse>();
  v1::ControlResponse response;
  if (!response.ParseFromString(*frame)) return host_error("what a session's process says cannot be parsed");
  return std::optional(std::move(response));
}

ControlProcess::End ControlProcess::end(std::chrono::seconds grace) {
  ::shutdown(socket_.get(), SHUT_RDWR);
  process_->signal(SIGTERM);
  End end;
  if (!wait_for_end(process_->pidfd(), grace)) {
    process_->signal(SIGKILL);
    end.how = fmt::format("did not end within {} s and was killed", grace.count());
  }
  const auto status = process_->wait();
  process_.reset();
  constexpr int kBySignal = 128;
  end.orderly = end.how.empty() && status && *status < kBySignal;
  if (end.how.empty()) end.how = status ? fmt::format("ended with status {}", *status) : status.error().message();
  if (const auto said = last_line(folder_ / "stderr.log"); !said.empty()) end.how += ": " + said;
  return end;
}

}  // namespace panicroom::service
