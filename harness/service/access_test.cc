// Who gets in: mutual TLS over a loopback port, certificates of every kind, and every method of every service.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <grpcpp/generic/generic_stub.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <thread>

#include "base/file.h"
#include "harness/service/client.h"
#include "harness/service/server_fixture.h"
#include "harness/service/test_certificates.h"
#include "panicroom/v1/host_service.grpc.pb.h"
#include "panicroom/v1/kernel_service.grpc.pb.h"

namespace panicroom::service {
namespace {

using grpc::StatusCode;
using testing::HasSubstr;

class AccessTest : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    options_.tls = lab_.issue("server", {.common_name = {}, .dns = {}, .uris = {}, .ips = {"127.0.0.1"}});
    options_.clients = directory_.path() / "clients.yaml";
    ASSERT_TRUE(
        write_file(options_.clients,
                   "clients: {seer: view, runner: run, spiffe://lab/runner2: run, boss: control, old: control}\n"));
    options_.listen = {"unix:" + (directory_.path() / "socket").string(), "127.0.0.1:0"};
  }

  TlsFiles certificate(const std::string& name) {
    return lab_.issue(name, {.common_name = name, .dns = {}, .uris = {}, .ips = {}});
  }
  std::shared_ptr<grpc::Channel> channel(const TlsFiles& files) const {
    return grpc::CreateChannel(server_->addresses()[1],
                               grpc::SslCredentials({.pem_root_certs = read_text_file(files.ca).value(),
                                                     .pem_private_key = read_text_file(files.key).value(),
                                                     .pem_cert_chain = read_text_file(files.certificate).value()}));
  }
  // What GetHost gives, which every client may call.
  static StatusCode look(const std::shared_ptr<grpc::Channel>& channel) {
    grpc::ClientContext context;
    v1::GetHostResponse response;
    return v1::HostService::NewStub(channel)->GetHost(&context, {}, &response).error_code();
  }
  static StatusCode start_at(const std::shared_ptr<grpc::Channel>& channel, v1::RunRecord* record = nullptr) {
    grpc::ClientContext context;
    v1::StartRunResponse response;
    const auto status = v1::RunService::NewStub(channel)->StartRun(&context, request(), &response);
    if (record != nullptr) *record = response.run();
    return status.error_code();
  }
  static StatusCode cancel_at(const std::shared_ptr<grpc::Channel>& channel, const std::string& name) {
    grpc::ClientContext context;
    v1::CancelRunRequest request;
    request.set_name(name);
    v1::CancelRunResponse response;
    return v1::RunService::NewStub(channel)->CancelRun(&context, request, &response).error_code();
  }

  TestAuthority lab_{directory_.path() / "lab"};
};

TEST_F(AccessTest, RolesDecideWhatAClientMayDo) {
  start();
  const auto seer = channel(certificate("seer"));
  const auto runner = channel(certificate("runner"));
  const auto runner2 =
      channel(lab_.issue("r2", {.common_name = "boss", .dns = {}, .uris = {"spiffe://lab/runner2"}, .ips = {}}));
  const auto boss = channel(certificate("boss"));
  EXPECT_EQ(look(seer), StatusCode::OK);
  EXPECT_EQ(start_at(seer), StatusCode::PERMISSION_DENIED);
  v1::RunRecord first;
  EXPECT_EQ(start_at(runner, &first), StatusCode::OK);
  EXPECT_EQ(first.client(), "runner");
  // A certificate that has alternative names is known by them alone, and not by its common name, boss.
  v1::RunRecord second;
  EXPECT_EQ(start_at(runner2, &second), StatusCode::OK);
  EXPECT_EQ(second.client(), "spiffe://lab/runner2");
  EXPECT_EQ(cancel_at(seer, "runs/2"), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(cancel_at(runner, "runs/2"), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(cancel_at(runner2, "runs/2"), StatusCode::OK);
  EXPECT_EQ(cancel_at(boss, "runs/1"), StatusCode::OK);
  // The unix socket is the owner's own.
  EXPECT_EQ(start_run(), "runs/3");
}

TEST_F(AccessTest, CertificatesThatAreNotRightDoNotGetIn) {
  start();
  const TestAuthority foreign(directory_.path() / "foreign");
  auto files = foreign.issue("boss", {.common_name = "boss", .dns = {}, .uris = {}, .ips = {}});
  files.ca = lab_.ca();
  EXPECT_EQ(look(channel(files)), StatusCode::UNAVAILABLE) << "of another authority";
  EXPECT_EQ(look(channel(lab_.issue("old", {.common_name = "old", .dns = {}, .uris = {}, .ips = {}}, -60))),
            StatusCode::UNAVAILABLE)
      << "expired";
  EXPECT_EQ(look(channel(certificate("stranger"))), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(look(channel(lab_.issue("nobody", {.common_name = {}, .dns = {}, .uris = {}, .ips = {}}))),
            StatusCode::PERMISSION_DENIED)
      << "without any name";
  EXPECT_EQ(look(grpc::CreateChannel(server_->addresses()[1], grpc::InsecureChannelCredentials())),
            StatusCode::UNAVAILABLE)
      << "in plain text";
  grpc::SslCredentialsOptions without;
  without.pem_root_certs = read_text_file(lab_.ca()).value();
  EXPECT_EQ(look(grpc::CreateChannel(server_->addresses()[1], grpc::SslCredentials(without))), StatusCode::UNAVAILABLE)
      << "without a certificate";
  // And the server is as it was.
  EXPECT_EQ(look(channel(certificate("seer"))), StatusCode::OK);
}

TEST_F(AccessTest, AServerOfAnotherAuthorityIsNotTalkedTo) {
  start();
  const TestAuthority foreign(directory_.path() / "foreign");
  auto files = certificate("boss");
  files.ca = foreign.ca();
  EXPECT_EQ(look(channel(files)), StatusCode::UNAVAILABLE);
}

// Every method that a server of ours has: one that forgets to ask would let strangers in.
TEST_F(AccessTest, EveryMethodAsksWhoCalls) {
  start();
  const auto stranger = channel(certificate("stranger"));
  int methods = 0;
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  for (const auto* file : {"run_service", "artifact_service", "kernel_service", "host_service", "control_service"}) {
    const auto* descriptor = pool->FindFileByName(std::string("panicroom/v1/") + file + ".proto");
    ASSERT_NE(descriptor, nullptr);
    for (int s = 0; s < descriptor->service_count(); ++s) {
      const auto* service = descriptor->service(s);
      for (int m = 0; m < service->method_count(); ++m) {
        const auto* method = service->method(m);
        grpc::GenericStub stub(stranger);
        grpc::ClientContext context;
        grpc::CompletionQueue queue;
        const auto path = "/" + service->full_name() + "/" + method->name();
        const auto call = stub.PrepareCall(&context, path, &queue);
        void* tag = nullptr;
        bool ok = false;
        call->StartCall(nullptr);
        queue.Next(&tag, &ok);
        grpc::Slice empty("");
        call->WriteLast(grpc::ByteBuffer(&empty, 1), grpc::WriteOptions(), nullptr);
        queue.Next(&tag, &ok);
        grpc::Status status;
        call->Finish(&status, nullptr);
        queue.Next(&tag, &ok);
        EXPECT_EQ(status.error_code(), StatusCode::PERMISSION_DENIED) << path << ": " << status.error_message();
        ++methods;
      }
    }
  }
  EXPECT_GE(methods, 10);
}

TEST_F(AccessTest, RolesThatAreTakenAwayAreGone) {
  start();
  const auto runner = channel(certificate("runner"));
  EXPECT_EQ(start_at(runner), StatusCode::OK);
  ASSERT_TRUE(write_file(options_.clients, "clients: {boss: control}  # No others any more.\n"));
  EXPECT_EQ(start_at(runner), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(look(channel(certificate("boss"))), StatusCode::OK);
}

TEST_F(AccessTest, OtherHostsTakeTls) {
  options_.tls.reset();
  options_.listen = {"0.0.0.0:0"};
  const auto open = Server::start(options_);
  ASSERT_FALSE(open);
  EXPECT_EQ(open.error().kind(), ErrorKind::kInvalidInput);
  EXPECT_THAT(open.error().message(), HasSubstr("--tls-certificate"));
  options_.tls = certificate("server");
  options_.clients.clear();
  const auto anybody = Server::start(options_);
  ASSERT_FALSE(anybody);
  EXPECT_THAT(anybody.error().message(), HasSubstr("--clients"));
  options_.clients = directory_.path() / "clients.yaml";
  start();
  EXPECT_THAT(server_->addresses()[0], testing::MatchesRegex("0\\.0\\.0\\.0:[1-9][0-9]*"));
}

// Connections that say nothing, and that begin and do not go on.
TEST_F(AccessTest, HalfOpenConnectionsHinderNobody) {
  start();
  const auto port = std::stoi(server_->addresses()[1].substr(server_->addresses()[1].rfind(':') + 1));
  std::vector<UniqueFd> connections;
  constexpr int kConnections = 100;
  connections.reserve(kConnections);
  for (int i = 0; i < kConnections; ++i) {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    // The beginning of a TLS record, and every second time nothing.
    constexpr std::array<char, 3> kBegin = {0x16, 0x03, 0x01};
    if (i % 2 == 0) {
      ASSERT_EQ(::send(fd.get(), kBegin.data(), kBegin.size(), MSG_NOSIGNAL), 3);
    }
    connections.push_back(std::move(fd));
  }
  EXPECT_EQ(look(channel(certificate("seer"))), StatusCode::OK);
}

TEST_F(AccessTest, AClientUsesItsFiles) {
  start();
  const auto address = server_->addresses()[1];
  auto client = Client::open({.address = address, .tls = certificate("runner")}).value();
  const auto run = client.start_run(request());
  ASSERT_TRUE(run) << run.error().message();
  auto seer = Client::open({.address = address, .tls = certificate("seer")}).value();
  EXPECT_THAT(seer.start_run(request()).error().message(), HasSubstr("seer has the role view"));
  EXPECT_EQ(seer.get_run(run->name()).value().client(), "runner");
  auto wrong = certificate("boss");
  wrong.key = certificate("seer").key;
  EXPECT_FALSE(Client::open({.address = address, .tls = wrong}));
}

}  // namespace
}  // namespace panicroom::service
