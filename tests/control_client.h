// A client of ControlService as somebody would write one: requests one after the other, and events in between.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "panicroom/v1/control_service.grpc.pb.h"

namespace panicroom::tests {

// Ends the machine when it is dropped. One thread.
class ControlClient {
 public:
  explicit ControlClient(const std::string& address);
  ~ControlClient();

  // The result of one request; a test failure, and an empty one, if the stream has ended.
  v1::ControlResult call(v1::ControlRequest request);
  // Sends a request whose response is waited for later.
  std::uint64_t begin(v1::ControlRequest request);
  v1::ControlResult wait_for(std::uint64_t id);
  // The machine's next stop, that or an earlier one that nobody has waited for.
  v1::MachineStopped wait_for_stop();
  // Closes this side: how the stream has ended.
  grpc::Status close();
  // As a client that is killed.
  void vanish();

  // --- What a scenario's lines are.
  v1::ControlResult open(const v1::OpenOperation& open);
  void resume();
  // The machine goes on until that CPU comes to the point; nothing is left behind.
  v1::MachineStopped run_to(std::uint32_t cpu, const std::string& point);
  void panic(std::uint32_t cpu, const std::string& message);
  void hold(std::uint32_t cpu, bool held);
  v1::Run await(std::int64_t seconds);

  // Names of the trial's stages so far.
  [[nodiscard]] const std::set<std::string>& stages() const { return stages_; }

 private:
  bool read();

  grpc::ClientContext context_;
  std::unique_ptr<v1::ControlService::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::ControlRequest, v1::ControlResponse>> stream_;
  std::uint64_t last_id_ = 0;
  std::deque<v1::ControlResult> results_;
  std::deque<v1::MachineStopped> stops_;
  std::set<std::string> stages_;
  bool finished_ = false;
};

}  // namespace panicroom::tests
