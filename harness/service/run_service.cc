#include "harness/service/run_service.h"

#include <stdlib.h>

#include <cerrno>
#include <limits>
#include <system_error>
#include <utility>

#include "harness/service/watch_run.h"

namespace panicroom::service {
namespace {

namespace fs = std::filesystem;

// A folder that is removed with all that is in it, unless it has been moved away.
class StagingFolder {
 public:
  static Result<StagingFolder> make(const fs::path& parent) {
    std::string name = (parent / "XXXXXX").native();
    if (::mkdtemp(name.data()) == nullptr) return errno_error(errno, fmt::format("making {}", name));
    return StagingFolder(name);
  }
  StagingFolder(StagingFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  StagingFolder& operator=(StagingFolder&&) = delete;
  ~StagingFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }

  [[nodiscard]] const fs::path& path() const { return path_; }
  Result<> move_to(const fs::path& where) {
    std::error_code error;
    fs::rename(path_, where, error);
    if (error) return errno_error(error.value(), fmt::format("making {}", where.native()));
    path_.clear();
    return {};
  }

 private:
  explicit StagingFolder(fs::path path) : path_(std::move(path)) {}
  fs::path path_;
};

}  // namespace

grpc::Status RunServiceCalls::StartRun(grpc::ServerContext* call, const v1::StartRunRequest* request,
                                       v1::StartRunResponse* response) {
  const std::lock_guard lock(starting_);
  // The client may have gone while others were served.
  if (call->IsCancelled()) return grpc::Status::CANCELLED;
  std::error_code error;
  const auto space = fs::space(context_.options.state, error);
  if (error || space.available < context_.options.min_free_bytes) {
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, "the server's disk is full"};
  }
  auto staging = StagingFolder::make(context_.staging);
  if (!staging) return context_.internal(staging.error());
  const auto checked = stage_run(*request, context_.options.policy, staging->path() / kScenariosFolder);
  if (!checked) return context_.internal(checked.error());
  if (!checked->violations.empty()) return bad_request(checked->violations);
  v1::RunRecord record;
  *record.mutable_options() = request->options();
  record.set_scenario_count(checked->scenarios);
  const auto added = context_.store.add(std::move(record), context_.options.max_queued,
                                        [&](RunId id) { return staging->move_to(context_.queue.folder(id)); });
  if (!added) return context_.internal(added.error());
  if (!*added) {
    return {grpc::StatusCode::RESOURCE_EXHAUSTED,
            fmt::format("{} runs are queued, and that is all that are taken", context_.options.max_queued)};
  }
  context_.log(fmt::format("{} is queued: {} scenarios", (*added)->name(), checked->scenarios));
  *response->mutable_run() = **added;
  context_.queue.wake();
  return grpc::Status::OK;
}

grpc::Status RunServiceCalls::GetRun(grpc::ServerContext* /*call*/, const v1::GetRunRequest* request,
                                     v1::GetRunResponse* response) {
  const auto id = parse_run_name(request->name());
  if (!id) return no_such_run(request->name());
  const auto record = context_.store.get(*id);
  if (!record) return context_.internal(record.error());
  if (!*record) return no_such_run(request->name());
  *response->mutable_run() = **record;
  return grpc::Status::OK;
}

grpc::Status RunServiceCalls::ListRuns(grpc::ServerContext* /*call*/, const v1::ListRunsRequest* request,
                                       v1::ListRunsResponse* response) {
  const auto size = page_size(request->page_size());
  if (!size) return bad_request("page_size", "is negative");
  if (!v1::RunState_IsValid(request->state())) return bad_request("state", "is none that this server knows");
  RunId before{std::numeric_limits<std::int64_t>::max()};
  if (!request->page_token().empty()) {
    const auto last = parse_run_name(request->page_token());
    if (!last) return bad_request("page_token", "is none of this server's");
    before = *last;
  }
  // One more, to know whether there is another page.
  const auto records = context_.store.list(request->state(), before, *size + 1);
  if (!records) return context_.internal(records.error());
  for (std::size_t i = 0; i < records->size() && i < *size; ++i) *response->add_runs() = (*records)[i];
  if (records->size() > *size) response->set_next_page_token(response->runs().rbegin()->name());
  return grpc::Status::OK;
}

grpc::Status RunServiceCalls::CancelRun(grpc::ServerContext* /*call*/, const v1::CancelRunRequest* request,
                                        v1::CancelRunResponse* response) {
  const auto id = parse_run_name(request->name());
  if (!id) return no_such_run(request->name());
  const auto record = context_.queue.cancel(*id);
  if (!record) return context_.internal(record.error());
  if (!*record) return no_such_run(request->name());
  *response->mutable_run() = **record;
  return grpc::Status::OK;
}

grpc::ServerWriteReactor<v1::WatchRunResponse>* RunServiceCalls::WatchRun(grpc::CallbackServerContext* /*call*/,
                                                                          const v1::WatchRunRequest* request) {
  return watch_run(context_, *request);
}

}  // namespace panicroom::service
