#include "tests/control_client.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace panicroom::tests {

ControlClient::ControlClient(const std::string& address)
    : stub_(v1::ControlService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()))),
      stream_([this] {
        // A stop that never comes is a failure, and no test that hangs.
        context_.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(10));
        return stub_->Control(&context_);
      }()) {}

ControlClient::~ControlClient() {
  if (!finished_) vanish();
}

bool ControlClient::read() {
  v1::ControlResponse response;
  if (!stream_->Read(&response)) return false;
  if (response.has_result()) results_.push_back(response.result());
  if (response.event().has_stopped()) stops_.push_back(response.event().stopped());
  if (response.event().trial().has_stage()) stages_.insert(response.event().trial().stage().name());
  return true;
}

std::uint64_t ControlClient::begin(v1::ControlRequest request) {
  request.set_id(++last_id_);
  stream_->Write(request);
  return last_id_;
}

v1::ControlResult ControlClient::wait_for(std::uint64_t id) {
  while (true) {
    const auto found = std::ranges::find(results_, id, &v1::ControlResult::id);
    if (found != results_.end()) {
      auto result = std::move(*found);
      results_.erase(found);
      return result;
    }
    if (!read()) {
      finished_ = true;
      ADD_FAILURE() << "the stream has ended: " << stream_->Finish().error_message();
      return {};
    }
  }
}

v1::ControlResult ControlClient::call(v1::ControlRequest request) { return wait_for(begin(std::move(request))); }

v1::MachineStopped ControlClient::wait_for_stop() {
  while (stops_.empty()) {
    if (!read()) {
      finished_ = true;
      ADD_FAILURE() << "the stream has ended: " << stream_->Finish().error_message();
      return {};
    }
  }
  auto stop = std::move(stops_.front());
  stops_.pop_front();
  return stop;
}

grpc::Status ControlClient::close() {
  stream_->WritesDone();
  while (read()) {
  }
  finished_ = true;
  return stream_->Finish();
}

void ControlClient::vanish() {
  context_.TryCancel();
  while (read()) {
  }
  finished_ = true;
  stream_->Finish();
}

v1::ControlResult ControlClient::open(const v1::OpenOperation& open) {
  v1::ControlRequest request;
  *request.mutable_open() = open;
  return call(request);
}

void ControlClient::resume() {
  v1::ControlRequest request;
  request.mutable_resume();
  const auto result = call(request);
  EXPECT_TRUE(result.has_done()) << result.error().message();
}

v1::MachineStopped ControlClient::run_to(std::uint32_t cpu, const std::string& point) {
  v1::ControlRequest add;
  add.mutable_add_breakpoint()->set_point(point);
  add.mutable_add_breakpoint()->add_cpus(cpu);
  const auto added = call(add);
  EXPECT_TRUE(added.has_breakpoint_added()) << point << ": " << added.error().message();
  if (!added.has_breakpoint_added()) return {};
  resume();
  auto stop = wait_for_stop();
  EXPECT_EQ(stop.breakpoint(), added.breakpoint_added().breakpoint());
  EXPECT_EQ(stop.cpu(), cpu);
  v1::ControlRequest remove;
  remove.mutable_remove_breakpoint()->set_breakpoint(stop.breakpoint());
  EXPECT_TRUE(call(remove).has_done());
  return stop;
}

void ControlClient::panic(std::uint32_t cpu, const std::string& message) {
  v1::ControlRequest request;
  request.mutable_inject()->set_cpu(cpu);
  request.mutable_inject()->mutable_panic()->set_message(message);
  const auto result = call(request);
  EXPECT_TRUE(result.has_done()) << result.error().message();
}

void ControlClient::hold(std::uint32_t cpu, bool held) {
  v1::ControlRequest request;
  request.mutable_set_held()->set_cpu(cpu);
  request.mutable_set_held()->set_held(held);
  EXPECT_TRUE(call(request).has_done());
}

v1::Run ControlClient::await(std::int64_t seconds) {
  v1::ControlRequest request;
  request.mutable_await_outcome()->mutable_timeout()->set_seconds(seconds);
  const auto result = call(request);
  EXPECT_TRUE(result.has_decided()) << result.error().message();
  return result.decided().run();
}

}  // namespace panicroom::tests
