#include "harness/service/client.h"

#include <fcntl.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <utility>

#include "base/file.h"
#include "harness/service/grpc_status.h"
#include "harness/service/listen_address.h"
#include "harness/service/run_name.h"
#include "harness/service/sha256.h"
#include "panicroom/v1/artifact_service.grpc.pb.h"
#include "panicroom/v1/run_service.grpc.pb.h"

namespace panicroom::service {
namespace {

namespace fs = std::filesystem;

// For an answer that takes the server no time.
constexpr std::chrono::seconds kAnswer(60);
constexpr std::chrono::seconds kCancelAnswer(10);
// A server that is restarted is back by then.
constexpr std::chrono::minutes kPatience(5);
// Connections that bring nothing, one behind the other.
constexpr int kMaxIdleAttempts = 20;
// A connection that is gone without a word is noticed by then, or twice that.
constexpr int kKeepaliveMilliseconds = 20'000;

// The call may be made again: the connection or the server went away, which is nothing about the call.
bool lost(const grpc::Status& status) {
  // A server that shuts down cancels what is under way.
  return status.error_code() == grpc::StatusCode::UNAVAILABLE || status.error_code() == grpc::StatusCode::CANCELLED;
}

Error error_of(const grpc::Status& status, const std::string& address) {
  std::string message = status.error_message();
  if (const auto violations = violations_of(status); !violations.empty()) {
    message.clear();
    for (const auto& violation : violations) {
      message += fmt::format("{}{}: {}", message.empty() ? "" : "\n", violation.field, violation.description);
    }
  }
  switch (status.error_code()) {
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::NOT_FOUND:
    case grpc::StatusCode::OUT_OF_RANGE:
      return {ErrorKind::kInvalidInput, message};
    case grpc::StatusCode::UNAVAILABLE:
      return host_error("the server {} is not to be had: {}", address, message);
    default:
      return host_error("the server {}: {}", address, message);
  }
}

Result<std::string> random_id() {
  std::array<unsigned char, 16> bytes{};
  if (::getentropy(bytes.data(), bytes.size()) != 0) return errno_error(errno, "getentropy");
  std::string text;
  for (const auto byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

// Ends a stream that nothing more is wanted of, whatever the server still sends.
template <typename Reader>
void leave(grpc::ClientContext& context, Reader& reader) {
  context.TryCancel();
  [[maybe_unused]] const auto status = reader.Finish();
}

// A file that is being fetched, beside the place where it will be.
class PartialFile {
 public:
  static Result<PartialFile> create(const fs::path& path) {
    TRY(make_directories(path.parent_path()));
    auto partial = path;
    partial += ".part";
    UniqueFd fd(::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (!fd) return errno_error(errno, fmt::format("creating {}", partial.native()));
    return PartialFile(path, std::move(partial), std::move(fd));
  }
  PartialFile(PartialFile&& other) noexcept
      : path_(std::move(other.path_)),
        partial_(std::exchange(other.partial_, {})),
        fd_(std::move(other.fd_)),
        bytes_(other.bytes_),
        hash_(std::move(other.hash_)) {}
  PartialFile& operator=(PartialFile&&) = delete;
  ~PartialFile() {
    if (!partial_.empty()) ::unlink(partial_.c_str());
  }

  Result<> append(std::string_view bytes) {
    hash_.add(bytes);
    bytes_ += bytes.size();
    while (!bytes.empty()) {
      const ssize_t put = ::write(fd_.get(), bytes.data(), bytes.size());
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return errno_error(errno, fmt::format("writing {}", partial_.native()));
      bytes.remove_prefix(static_cast<std::size_t>(put));
    }
    return {};
  }

  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

  Result<> finish(const v1::ArtifactDigest& digest) {
    if (digest.size_bytes() != bytes_ || digest.sha256() != TRY(hash_.finish())) {
      return host_error("{} is not what the server has: its checksum is another", path_.native());
    }
    if (::rename(partial_.c_str(), path_.c_str()) != 0)
      return errno_error(errno, fmt::format("writing {}", path_.native()));
    partial_.clear();
    return {};
  }

 private:
  PartialFile(fs::path path, fs::path partial, UniqueFd fd)
      : path_(std::move(path)), partial_(std::move(partial)), fd_(std::move(fd)) {}

  fs::path path_;
  fs::path partial_;
  UniqueFd fd_;
  std::uint64_t bytes_ = 0;
  Sha256 hash_;
};

}  // namespace

class Client::Impl {
 public:
  Impl(std::string address_text, const std::shared_ptr<grpc::ChannelCredentials>& credentials)
      : address(std::move(address_text)), channel(make_channel(address, credentials)) {}

  static std::shared_ptr<grpc::Channel> make_channel(const std::string& address,
                                                     const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMilliseconds);
    // Soon after the server is back, not after ever longer pauses.
    constexpr int kMaxBackoffMilliseconds = 2000;
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxBackoffMilliseconds);
    // The server is named as it is reached.
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    return grpc::CreateCustomChannel(address, credentials, arguments);
  }

  // False if the server does not answer in time.
  bool connected() { return channel->WaitForConnected(std::chrono::system_clock::now() + kPatience); }

  Result<std::vector<std::string>> list_artifacts(const std::string& run);
  Result<> fetch_file(const std::string& name, const fs::path& where);

  const std::string address;
  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<v1::RunService::Stub> runs = v1::RunService::NewStub(channel);
  const std::unique_ptr<v1::ArtifactService::Stub> artifacts = v1::ArtifactService::NewStub(channel);
};

Result<std::string> run_name_of(const std::string& text) {
  for (const auto& name : {text, "runs/" + text}) {
    if (parse_run_name(name)) return name;
  }
  return invalid_input("'{}' is no run: runs/17, or 17", text);
}

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::Client(Client&& other) noexcept = default;
Client::~Client() = default;

Result<Client> Client::open(const ClientOptions& options) {
  const auto address = TRY(parse_listen_address(options.address));
  auto credentials = grpc::InsecureChannelCredentials();
  if (options.tls) {
    const auto texts = TRY(load_tls_files(*options.tls));
    credentials = grpc::SslCredentials(
        {.pem_root_certs = texts.ca, .pem_private_key = texts.key, .pem_cert_chain = texts.certificate});
  } else if (address.socket.empty() && !address.loopback) {
    return invalid_input("{} is on another host, which takes --tls-certificate, --tls-key and --tls-ca",
                         options.address);
  }
  return Client(std::make_unique<Impl>(options.address, credentials));
}

Result<v1::RunRecord> Client::start_run(const v1::StartRunRequest& request) {
  auto marked = request;
  if (marked.request_id().empty()) marked.set_request_id(TRY(random_id()));
  for (int attempts = 0;; ++attempts) {
    grpc::ClientContext context;
    v1::StartRunResponse response;
    const auto status = impl_->runs->StartRun(&context, marked, &response);
    if (status.ok()) return std::move(*response.mutable_run());
    // A connection that never was needs no second attempt.
    if (!lost(status) || attempts >= kMaxIdleAttempts ||
        impl_->channel->GetState(false) == GRPC_CHANNEL_TRANSIENT_FAILURE)
      return error_of(status, impl_->address);
  }
}

Result<v1::RunRecord> Client::get_run(const std::string& name) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kAnswer);
  v1::GetRunRequest request;
  request.set_name(name);
  v1::GetRunResponse response;
  const auto status = impl_->runs->GetRun(&context, request, &response);
  if (!status.ok()) return error_of(status, impl_->address);
  return std::move(*response.mutable_run());
}

Result<std::vector<v1::RunRecord>> Client::list_runs() {
  std::vector<v1::RunRecord> runs;
  v1::ListRunsRequest request;
  do {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kAnswer);
    v1::ListRunsResponse response;
    const auto status = impl_->runs->ListRuns(&context, request, &response);
    if (!status.ok()) return error_of(status, impl_->address);
    runs.insert(runs.end(), response.runs().begin(), response.runs().end());
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return runs;
}

Result<v1::RunRecord> Client::cancel_run(const std::string& name) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCancelAnswer);
  v1::CancelRunRequest request;
  request.set_name(name);
  v1::CancelRunResponse response;
  const auto status = impl_->runs->CancelRun(&context, request, &response);
  if (!status.ok()) return error_of(status, impl_->address);
  return std::move(*response.mutable_run());
}

Result<v1::RunEnded> Client::watch_run(const std::string& name,
                                       const std::function<void(const v1::RunEvent& event)>& on_event,
                                       const std::function<void(std::string_view what)>& on_trouble) {
  v1::WatchRunRequest request;
  request.set_name(name);
  for (int attempts = 0;; ++attempts) {
    grpc::ClientContext context;
    const auto reader = impl_->runs->WatchRun(&context, request);
    v1::WatchRunResponse response;
    while (reader->Read(&response)) {
      const auto& event = response.event();
      if (event.sequence() != request.after_sequence() + 1) {
        leave(context, *reader);
        return host_error("the server {} sent event {} behind event {}", impl_->address, event.sequence(),
                          request.after_sequence());
      }
      request.set_after_sequence(event.sequence());
      attempts = 0;
      on_event(event);
      if (event.has_ended()) {
        leave(context, *reader);
        return event.ended();
      }
    }
    const auto status = reader->Finish();
    if (status.ok()) return host_error("the server {} ended the stream before the run had ended", impl_->address);
    if (!lost(status)) return error_of(status, impl_->address);
    on_trouble(status.error_message());
    if (attempts >= kMaxIdleAttempts || !impl_->connected()) return error_of(status, impl_->address);
  }
}

Result<std::vector<std::string>> Client::Impl::list_artifacts(const std::string& run) {
  std::vector<std::string> names;
  v1::ListArtifactsRequest request;
  request.set_parent(run);
  do {
    grpc::ClientContext context;
    v1::ListArtifactsResponse response;
    const auto status = artifacts->ListArtifacts(&context, request, &response);
    if (!status.ok()) return error_of(status, address);
    for (const auto& artifact : response.artifacts()) names.push_back(artifact.name());
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return names;
}

Result<> Client::Impl::fetch_file(const std::string& name, const fs::path& where) {
  auto file = TRY(PartialFile::create(where));
  v1::DownloadArtifactRequest request;
  request.set_name(name);
  for (int attempts = 0;; ++attempts) {
    grpc::ClientContext context;
    request.set_offset(file.bytes());
    const auto reader = artifacts->DownloadArtifact(&context, request);
    v1::DownloadArtifactResponse response;
    while (reader->Read(&response)) {
      if (response.has_digest()) {
        leave(context, *reader);
        return file.finish(response.digest());
      }
      attempts = 0;
      if (auto written = file.append(response.chunk()); !written) {
        leave(context, *reader);
        return written;
      }
    }
    const auto status = reader->Finish();
    if (status.ok()) return host_error("the server {} sent no checksum for {}", address, name);
    if (!lost(status) || attempts >= kMaxIdleAttempts || !connected()) return error_of(status, address);
  }
}

Result<> Client::fetch(const std::string& name, const fs::path& folder,
                       const std::function<void(std::string_view path)>& on_file) {
  TRY(make_directories(folder));
  for (const auto& artifact : TRY(impl_->list_artifacts(name))) {
    const auto parsed = parse_artifact_name(artifact);
    // It becomes a path here.
    if (!parsed) return host_error("the server {} named a file that is none of a run's", impl_->address);
    on_file(parsed->path.native());
    TRY(impl_->fetch_file(artifact, folder / parsed->path));
  }
  return {};
}

}  // namespace panicroom::service
