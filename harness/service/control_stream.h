// One session of interactive control, seen from the server: a client's stream, the process that has the machine, and
// the limits of both. Includes gRPC's headers: for the service's own sources.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/file.h"
#include "harness/service/control_process.h"
#include "harness/service/service_context.h"
#include "panicroom/v1/control_service.grpc.pb.h"

namespace panicroom::service {

// Wakes a session's thread. Outlives the stream, for whoever wants to end it. Thread-safe.
class SessionWake {
 public:
  SessionWake();
  [[nodiscard]] int fd() const { return fd_.get(); }  // Readable (poll(2)) when it has been woken; -1: there is none.
  void wake() const;
  void drain() const;
  void end() {
    end_ = true;
    wake();
  }
  [[nodiscard]] bool end_wanted() const { return end_; }
  // The machine is gone, and the thread about to be.
  void set_over() { over_ = true; }
  [[nodiscard]] bool over() const { return over_; }

 private:
  UniqueFd fd_;
  std::atomic<bool> end_ = false;
  std::atomic<bool> over_ = false;
};

// gRPC's threads call the reactions, one thread calls run(). Owns itself.
class ControlStream final : public grpc::ServerBidiReactor<v1::ControlRequest, v1::ControlResponse> {
 public:
  ControlStream(ServiceContext& context, std::shared_ptr<SessionWake> wake, std::string client);

  // The whole session. When this returns, the stream is finished, the machine gone, and this object too.
  void run();

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { delete this; }

 private:
  // The stream's status, once there is no process any more.
  grpc::Status serve();
  // The same, with the process that has the machine.
  grpc::Status carry(ControlProcess& process, const v1::ControlRequest& open);
  // Both directions, as far as it goes without waiting. A status: it is over.
  std::optional<grpc::Status> pass_requests(ControlProcess& process);
  std::optional<grpc::Status> pass_responses(ControlProcess& process);
  // Waits until something has changed. A status: nothing has, for too long.
  std::optional<grpc::Status> wait(ControlProcess* process);
  // Waits for the first request, and looks at it.
  grpc::Status take_open(v1::ControlRequest& open);
  // What the client, or the server, has made of the stream; nothing: it goes on.
  std::optional<grpc::Status> ended();
  // The next request, once; the one after it is read when resume_reading() is called.
  std::optional<v1::ControlRequest> take_request();
  void resume_reading();
  // False if one is still being written.
  [[nodiscard]] bool can_write();
  void write(v1::ControlResponse response);

  ServiceContext& context_;
  std::shared_ptr<SessionWake> wake_;
  std::string client_;            // Whose session it is.
  std::mutex mutex_;              // What follows, and the starting of reads and writes.
  v1::ControlRequest request_;    // While it is being read.
  v1::ControlResponse response_;  // While it is being written.
  bool arrived_ = false;          // request_ is there.
  bool read_ended_ = false;
  bool writing_ = false;
  bool cancelled_ = false;

  // --- The session's thread alone.
  std::size_t unanswered_ = 0;  // Requests.
  bool stopped_ = false;        // The machine has said that it waits for the client, and no request has come since.
  bool process_over_ = false;   // Nothing more comes from it.
  std::uint64_t pause_ = 0;     // The last request to pause.
  bool passing_ = false;        // A request is on its way: the next one is not read yet.
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();  // When the client was last at work.
};

}  // namespace panicroom::service
