#include "harness/service/server.h"

#include <fcntl.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "harness/events/run_journal.h"
#include "harness/report/untrusted_text.h"
#include "harness/service/artifact_service.h"
#include "harness/service/control_service.h"
#include "harness/service/listen_address.h"
#include "harness/service/lookup_services.h"
#include "harness/service/metrics.h"
#include "harness/service/run_service.h"

namespace panicroom::service {
namespace {

namespace fs = std::filesystem;

// Of one message; the scenario files of a large catalogue fit.
constexpr int kMaxRequestBytes = 8 << 20;
constexpr std::size_t kMaxTransportBytes = std::size_t{256} << 20;
constexpr int kMaxCallThreads = 64;
constexpr int kMaxStreamsOfConnection = 256;
// Behind it a client has to show its certificate again; what it has begun goes on.
constexpr int kMaxConnectionMilliseconds = 3600'000;
// How soon new files of TLS are seen.
constexpr unsigned kTlsRefreshSeconds = 30;
// A client that is gone without a word is noticed by then.
constexpr int kKeepaliveMilliseconds = 20'000;

// Held for the life of the server.
Result<UniqueFd> lock_state(const fs::path& state) {
  UniqueFd fd(::open((state / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return errno_error(errno, fmt::format("opening {}", (state / "lock").native()));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return errno == EWOULDBLOCK ? host_error("another server has the state directory {}", state.native())
                                : errno_error(errno, fmt::format("locking {}", (state / "lock").native()));
  }
  return fd;
}

Result<std::vector<ListenAddress>> listen_addresses(const ServerOptions& options) {
  std::vector<ListenAddress> addresses;
  auto texts = options.listen;
  if (texts.empty()) texts.push_back(default_address(options.state));
  for (const auto& text : texts) {
    auto address = TRY(parse_listen_address(text));
    if (address.socket.empty() && !address.loopback && !options.tls) {
      return invalid_input(
          "{} can be reached from other hosts, which takes mutual TLS: --tls-certificate, --tls-key, --tls-ca and "
          "--clients",
          text);
    }
    addresses.push_back(std::move(address));
  }
  return addresses;
}

// The files are looked at again while the server runs.
std::shared_ptr<grpc::ServerCredentials> tls_credentials(const TlsFiles& files) {
  const auto provider = std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
      files.key.native(), files.certificate.native(), files.ca.native(), kTlsRefreshSeconds);
  grpc::experimental::TlsServerCredentialsOptions options(provider);
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return grpc::experimental::TlsServerCredentials(options);
}

LogEntry escaped(const LogEntry& entry) {
  LogEntry escaped{.level = entry.level, .message = harness::escape_untrusted(entry.message), .fields = {}};
  for (const auto& [key, value] : entry.fields) escaped.fields.emplace_back(key, harness::escape_untrusted(value));
  return escaped;
}

// What was laid down for runs that never came to be.
void remove_orphans(const fs::path& runs, RunStore& store) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(runs, error)) {
    const auto id = parse_run_name("runs/" + entry.path().filename().string());
    const auto record = id ? store.get(*id) : Result<std::optional<v1::RunRecord>>(std::nullopt);
    std::error_code ignored;
    if (record && !*record) fs::remove_all(entry.path(), ignored);
  }
}

}  // namespace

Result<fs::path> default_state_directory() {
  const char* const state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && *state == '/') return fs::path(state) / "panicroom";
  const char* const home = std::getenv("HOME");
  if (home != nullptr && *home == '/') return fs::path(home) / ".local/state/panicroom";
  return host_error("neither XDG_STATE_HOME nor HOME tells where the state directory is; name one with --state");
}

std::string default_address(const fs::path& state) {
  std::error_code error;
  const auto absolute = fs::absolute(state, error);
  return "unix:" + ((error ? state : absolute) / "socket").native();
}

class Server::Impl {
 public:
  explicit Impl(ServerOptions options) : options_(std::move(options)) {}

  Result<> start();
  void stop();
  void drain(std::chrono::steady_clock::time_point until);
  [[nodiscard]] const std::vector<std::string>& addresses() const { return addresses_; }
  [[nodiscard]] const std::string& metrics_address() const { return metrics_address_; }

 private:
  Result<> prepare_state();
  RunQueueOptions queue_options(const fs::path& runs);
  void remove_old();
  Result<> listen(const std::vector<ListenAddress>& addresses);

  ServerOptions options_;
  std::vector<std::string> addresses_;
  std::string metrics_address_;
  UniqueFd lock_;
  std::unique_ptr<RunStore> store_;
  RunWatchers watchers_;
  std::unique_ptr<Metrics> metrics_;
  std::optional<CallGate> gate_;
  std::unique_ptr<RunQueue> queue_;
  std::unique_ptr<ServiceContext> context_;
  std::unique_ptr<RunServiceCalls> runs_;
  std::unique_ptr<ArtifactServiceCalls> artifacts_;
  std::unique_ptr<KernelServiceCalls> kernels_;
  std::unique_ptr<HostServiceCalls> host_;
  std::unique_ptr<ControlServiceCalls> control_;
  std::mutex stop_mutex_;
  std::unique_ptr<grpc::Server> server_;
};

Result<> Server::Impl::prepare_state() {
  TRY(make_directories(options_.state));
  options_.state = fs::absolute(options_.state);
  // The socket in it is the way in: only this user's processes may take it.
  if (::chmod(options_.state.c_str(), 0700) != 0) {
    return errno_error(errno, fmt::format("setting the mode of {}", options_.state.native()));
  }
  lock_ = TRY(lock_state(options_.state));
  const auto staging = options_.state / "staging";
  std::error_code ignored;
  fs::remove_all(staging, ignored);
  TRY(make_directories(staging));
  const auto control = options_.state / "control";
  fs::remove_all(control, ignored);
  TRY(make_directories(control));
  const auto runs = options_.state / "runs";
  TRY(make_directories(runs));
  store_ = TRY(RunStore::open(options_.state / "runs.sqlite"));
  remove_orphans(runs, *store_);

  metrics_ = std::make_unique<Metrics>(*store_, watchers_, options_.state);
  if (options_.program.empty()) options_.program = {"/proc/self/exe"};
  queue_ = std::make_unique<RunQueue>(*store_, watchers_, queue_options(runs));
  gate_.emplace(
      TRY(CallGate::open({.clients = options_.clients, .log = options_.log, .refused = [this](std::string_view why) {
                            metrics_->call_refused(why);
                          }})));
  context_ = std::unique_ptr<ServiceContext>(new ServiceContext{.options = options_,
                                                                .store = *store_,
                                                                .watchers = watchers_,
                                                                .queue = *queue_,
                                                                .gate = *gate_,
                                                                .staging = staging,
                                                                .control = control});
  return {};
}

RunQueueOptions Server::Impl::queue_options(const fs::path& runs) {
  return {
      .runs = runs,
      .command =
          [program = options_.program](const v1::RunRecord& record, const fs::path& folder) {
            auto argv = program;
            argv.emplace_back("run");
            argv.push_back("--out=" + (folder / kOutFolder).native());
            argv.push_back("--journal=" + (folder / harness::kRunJournalFile).native());
            const auto arguments = run_arguments(record.options(), folder / kScenariosFolder);
            argv.insert(argv.end(), arguments.begin(), arguments.end());
            return argv;
          },
      .limits = options_.running,
      .log = options_.log,
      .ended = [this](const v1::RunRecord& record) { metrics_->run_ended(record); },
      .tidy = [this] { remove_old(); },
      .end_leftovers = options_.end_leftovers,
      .grace = options_.grace,
  };
}

void Server::Impl::remove_old() {
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  const auto removed = remove_old_runs(
      *store_, options_.retention, now, [this](RunId id) { return queue_->folder(id); },
      [this](RunId id) {
        if (!options_.log) return;
        options_.log({.level = LogLevel::kInfo,
                      .message = run_name(id) + " is removed, as old runs are",
                      .fields = {{"run", run_name(id)}}});
      });
  if (!removed && options_.log) {
    options_.log({.level = LogLevel::kError, .message = removed.error().message(), .fields = {}});
  }
}

Result<> Server::Impl::listen(const std::vector<ListenAddress>& addresses) {
  runs_ = std::make_unique<RunServiceCalls>(*context_);
  artifacts_ = std::make_unique<ArtifactServiceCalls>(*context_);
  kernels_ = std::make_unique<KernelServiceCalls>(*context_);
  host_ = std::make_unique<HostServiceCalls>(*context_);
  control_ = std::make_unique<ControlServiceCalls>(*context_);

  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  grpc::ResourceQuota quota("panicroom");
  quota.Resize(kMaxTransportBytes).SetMaxThreads(kMaxCallThreads);
  builder.SetResourceQuota(quota);
  builder.SetMaxReceiveMessageSize(kMaxRequestBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsOfConnection);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMilliseconds);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kKeepaliveMilliseconds / 2);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  if (options_.tls) builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, kMaxConnectionMilliseconds);
  std::vector<int> ports(addresses.size());
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const bool tls = options_.tls && addresses[i].socket.empty();
    builder.AddListeningPort(addresses[i].target,
                             tls ? tls_credentials(*options_.tls) : grpc::InsecureServerCredentials(), &ports[i]);
  }
  builder.RegisterService(runs_.get());
  builder.RegisterService(artifacts_.get());
  builder.RegisterService(kernels_.get());
  builder.RegisterService(host_.get());
  builder.RegisterService(control_.get());
  server_ = builder.BuildAndStart();
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const auto& target = addresses[i].target;
    if (!server_ || ports[i] == 0) {
      server_.reset();
      return host_error("cannot listen at {}", target);
    }
    addresses_.push_back(
        addresses[i].socket.empty() ? fmt::format("{}:{}", target.substr(0, target.rfind(':')), ports[i]) : target);
  }
  return {};
}

Result<> Server::Impl::start() {
  if (options_.log) {
    options_.log = [log = std::move(options_.log)](const LogEntry& entry) { log(escaped(entry)); };
  }
  const auto addresses = TRY(listen_addresses(options_));
  if (options_.tls) {
    TRY(load_tls_files(*options_.tls));
    if (options_.clients.empty()) return invalid_input("with TLS, --clients has to tell which clients may do what");
  }
  if (!options_.metrics.empty() && !TRY(parse_listen_address(options_.metrics)).loopback) {
    return invalid_input("{}: metrics are for everybody who asks, so they are given at loopback addresses only",
                         options_.metrics);
  }
  TRY(prepare_state());
  TRY(queue_->recover());
  TRY(listen(addresses));
  if (!options_.metrics.empty()) metrics_address_ = TRY(metrics_->expose(options_.metrics));
  return queue_->start();
}

void Server::Impl::drain(std::chrono::steady_clock::time_point until) {
  context_->stopping = true;
  server_->GetHealthCheckService()->SetServingStatus(false);
  queue_->drain(until);
}

void Server::Impl::stop() {
  const std::lock_guard lock(stop_mutex_);
  // First the runs, so that their watchers see their ends; sessions end meanwhile.
  if (control_) control_->begin_stop();
  if (queue_) queue_->stop();
  if (control_) control_->stop();
  if (!server_) return;
  // Streams that wait for queued runs would wait for ever.
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
  server_.reset();
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() { stop(); }

Result<std::unique_ptr<Server>> Server::start(ServerOptions options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  TRY(impl->start());
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

const std::vector<std::string>& Server::addresses() const { return impl_->addresses(); }
const std::string& Server::metrics_address() const { return impl_->metrics_address(); }
void Server::drain(std::chrono::steady_clock::time_point until) { impl_->drain(until); }
void Server::stop() { impl_->stop(); }

}  // namespace panicroom::service
