#include "harness/service/server.h"

#include <fcntl.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
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
#include "harness/service/run_service.h"

namespace panicroom::service {
namespace {

namespace fs = std::filesystem;

// Of one message; the scenario files of a large catalogue fit.
constexpr int kMaxRequestBytes = 8 << 20;
constexpr std::size_t kMaxTransportBytes = std::size_t{256} << 20;
constexpr int kMaxCallThreads = 64;
constexpr int kMaxStreamsOfConnection = 256;
// A client that is gone without a word is noticed by then.
constexpr int kKeepaliveMilliseconds = 60'000;

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
  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  Result<> prepare_state();
  Result<> listen(const ListenAddress& address);

  ServerOptions options_;
  std::string address_;
  UniqueFd lock_;
  std::unique_ptr<RunStore> store_;
  RunWatchers watchers_;
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

  if (options_.program.empty()) options_.program = {"/proc/self/exe"};
  RunQueueOptions queue_options{
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
      .log = options_.log,
      .end_leftovers = options_.end_leftovers,
      .grace = options_.grace,
  };
  queue_ = std::make_unique<RunQueue>(*store_, watchers_, std::move(queue_options));
  context_ = std::unique_ptr<ServiceContext>(new ServiceContext{.options = options_,
                                                                .store = *store_,
                                                                .watchers = watchers_,
                                                                .queue = *queue_,
                                                                .staging = staging,
                                                                .control = control});
  return {};
}

Result<> Server::Impl::listen(const ListenAddress& address) {
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
  int port = 0;
  builder.AddListeningPort(address.target, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(runs_.get());
  builder.RegisterService(artifacts_.get());
  builder.RegisterService(kernels_.get());
  builder.RegisterService(host_.get());
  builder.RegisterService(control_.get());
  server_ = builder.BuildAndStart();
  if (!server_ || port == 0) {
    server_.reset();
    return host_error("cannot listen at {}", address.target);
  }
  address_ = address.socket.empty() ? fmt::format("{}:{}", address.target.substr(0, address.target.rfind(':')), port)
                                    : address.target;
  return {};
}

Result<> Server::Impl::start() {
  if (options_.log) {
    options_.log = [log = std::move(options_.log)](std::string_view line) { log(harness::escape_untrusted(line)); };
  }
  const auto address =
      TRY(parse_listen_address(options_.listen.empty() ? default_address(options_.state) : options_.listen));
  TRY(prepare_state());
  TRY(queue_->recover());
  TRY(listen(address));
  return queue_->start();
}

void Server::Impl::stop() {
  const std::lock_guard lock(stop_mutex_);
  // First the run, so that its watchers see its end; sessions end meanwhile.
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

const std::string& Server::address() const { return impl_->address(); }
void Server::stop() { impl_->stop(); }

}  // namespace panicroom::service
