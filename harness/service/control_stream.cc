#include "harness/service/control_stream.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "harness/service/control_open.h"

namespace panicroom::service {
namespace {

using grpc::Status;
using grpc::StatusCode;
using std::chrono::steady_clock;

Status aborted(std::string_view message) { return {StatusCode::ABORTED, std::string(message)}; }

}  // namespace

SessionWake::SessionWake() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void SessionWake::wake() const {
  const std::uint64_t one = 1;
  while (::write(fd_.get(), &one, sizeof(one)) < 0 && errno == EINTR) {
  }
}

void SessionWake::drain() const {
  std::uint64_t count = 0;
  while (::read(fd_.get(), &count, sizeof(count)) < 0 && errno == EINTR) {
  }
}

ControlStream::ControlStream(ServiceContext& context, std::shared_ptr<SessionWake> wake, std::string client)
    : context_(context), wake_(std::move(wake)), client_(std::move(client)) {
  StartRead(&request_);
}

void ControlStream::OnReadDone(bool ok) {
  const std::lock_guard lock(mutex_);
  (ok ? arrived_ : read_ended_) = true;
  wake_->wake();
}

void ControlStream::OnWriteDone(bool ok) {
  const std::lock_guard lock(mutex_);
  writing_ = false;
  cancelled_ = cancelled_ || !ok;
  wake_->wake();
}

void ControlStream::OnCancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  wake_->wake();
}

std::optional<Status> ControlStream::ended() {
  if (wake_->end_wanted()) return Status(StatusCode::UNAVAILABLE, "the server stops");
  const std::lock_guard lock(mutex_);
  if (cancelled_) return Status(StatusCode::CANCELLED, "the client is gone");
  if (read_ended_ && !arrived_) return Status::OK;
  return std::nullopt;
}

std::optional<v1::ControlRequest> ControlStream::take_request() {
  const std::lock_guard lock(mutex_);
  if (!std::exchange(arrived_, false)) return std::nullopt;
  return std::move(request_);
}

void ControlStream::resume_reading() {
  const std::lock_guard lock(mutex_);
  if (read_ended_) return;
  request_.Clear();
  StartRead(&request_);
}

bool ControlStream::can_write() {
  const std::lock_guard lock(mutex_);
  return !writing_;
}

void ControlStream::write(v1::ControlResponse response) {
  const std::lock_guard lock(mutex_);
  response_ = std::move(response);
  writing_ = true;
  StartWrite(&response_);
}

Status ControlStream::take_open(v1::ControlRequest& open) {
  while (true) {
    if (auto request = take_request()) {
      const auto violations = check_control_open(*request, context_.options.policy);
      if (!violations.empty()) return bad_request(violations);
      open = *std::move(request);
      return Status::OK;
    }
    if (const auto status = ended()) {
      return status->ok() ? Status(StatusCode::INVALID_ARGUMENT, "there was no request") : *status;
    }
    if (const auto status = wait(nullptr)) return *status;
  }
}

std::optional<Status> ControlStream::wait(ControlProcess* process) {
  pollfd process_entry{-1, 0, 0};
  if (process != nullptr && !process_over_) {
    if (can_write()) process_entry.events |= POLLIN;
    if (process->sending()) process_entry.events |= POLLOUT;
    // Its end is told whether or not it was asked for, and would be over and over while the client takes its time.
    if (process_entry.events != 0) process_entry.fd = process->socket();
  }
  // A machine that waits for the client is none that is at work, even for a request that is not answered.
  const bool idle = unanswered_ == 0 || stopped_;
  int timeout = -1;
  if (idle) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(last_ + context_.options.control_idle_limit - steady_clock::now());
    if (left.count() <= 0) {
      return Status(StatusCode::DEADLINE_EXCEEDED,
                    fmt::format("no request came in {} s", context_.options.control_idle_limit.count()));
    }
    timeout = static_cast<int>(std::min<std::int64_t>(left.count(), 60'000));
  }
  std::array<pollfd, 2> entries = {pollfd{wake_->fd(), POLLIN, 0}, process_entry};
  if (::poll(entries.data(), entries.size(), timeout) < 0 && errno != EINTR) {
    return context_.internal(errno_error(errno, "poll"));
  }
  if (entries[0].revents != 0) wake_->drain();
  if (process != nullptr && (entries[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
    const auto more = process->fill();
    if (!more) return context_.internal(more.error());
    process_over_ = !*more;
  }
  return std::nullopt;
}

std::optional<Status> ControlStream::pass_requests(ControlProcess& process) {
  if (process_over_) return std::nullopt;
  if (!passing_) {
    if (const auto request = take_request()) {
      if (request->id() == 0) return bad_request("id", "is 0, which is no request's number");
      if (const auto sent = process.send(*request); !sent) {
        return Status(StatusCode::RESOURCE_EXHAUSTED, sent.error().message());
      }
      passing_ = true;
      stopped_ = false;
      if (request->has_pause()) pause_ = request->id();
      ++unanswered_;
      last_ = steady_clock::now();
    }
  }
  // One that has ended may have said why: that is still to be read, and then its end.
  if (!process.flush()) return std::nullopt;
  if (passing_ && !process.sending()) {
    passing_ = false;
    resume_reading();
  }
  return std::nullopt;
}

std::optional<Status> ControlStream::pass_responses(ControlProcess& process) {
  while (can_write()) {
    auto response = process.next();
    if (!response) {
      context_.log(fmt::format("a control session: {}", response.error().message()));
      return aborted("the session's process does not keep to the protocol");
    }
    if (!*response) return process_over_ ? std::optional(aborted("the session's process has ended")) : std::nullopt;
    if ((*response)->has_result()) {
      const auto& result = (*response)->result();
      if (result.id() == 0) return aborted(result.error().message());
      if (unanswered_ > 0) --unanswered_;
      // A machine that stands still by a pause waits for the client as one at a breakpoint does.
      if (result.id() == pause_ && !result.has_error()) stopped_ = true;
      last_ = steady_clock::now();
    } else if ((*response)->event().has_stopped()) {
      stopped_ = true;
      last_ = steady_clock::now();
    }
    write(**std::move(response));
  }
  return std::nullopt;
}

Status ControlStream::carry(ControlProcess& process, const v1::ControlRequest& open) {
  if (const auto sent = process.send(open); !sent) return {StatusCode::RESOURCE_EXHAUSTED, sent.error().message()};
  passing_ = true;
  unanswered_ = 1;
  last_ = steady_clock::now();
  while (true) {
    if (const auto status = ended()) return *status;
    if (const auto status = pass_requests(process)) return *status;
    if (const auto status = pass_responses(process)) return *status;
    if (const auto status = wait(&process)) return *status;
  }
}

Status ControlStream::serve() {
  v1::ControlRequest open;
  if (auto status = take_open(open); !status.ok()) return status;
  std::error_code error;
  const auto space = std::filesystem::space(context_.control, error);
  if (error || space.available < context_.options.min_free_bytes) {
    return {StatusCode::RESOURCE_EXHAUSTED, "the server's disk is full"};
  }
  auto process = ControlProcess::start(context_.options.program, context_.control);
  if (!process) return context_.internal(process.error());
  context_.log("a control session begins", {{"client", client_}});
  auto status = carry(*process, open);
  const auto end = process->end(context_.options.grace);
  // Its guest outlives a process that did not end in the ordinary way.
  if (!end.orderly && context_.options.end_leftovers) {
    if (const auto ended = context_.options.end_leftovers(); !ended) {
      [[maybe_unused]] const auto told = context_.internal(ended.error());
    }
  }
  // A client that cancels is first seen as one that closes its side, or not.
  const bool by_client = status.ok() || status.error_code() == StatusCode::CANCELLED;
  context_.log(fmt::format("a control session has ended ({}); its process {}",
                           by_client ? "by the client" : status.error_message(), end.how),
               {{"client", client_}});
  return status;
}

void ControlStream::run() {
  const auto status = serve();
  // Before the client knows: it may come back at once.
  wake_->set_over();
  Finish(status);  // This object may be gone now.
}

}  // namespace panicroom::service
