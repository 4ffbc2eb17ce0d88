#include "harness/service/run_service.h"

#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <string_view>
#include <system_error>
#include <utility>

#include "harness/service/sha256.h"
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

bool is_request_id(std::string_view text) {
  constexpr std::size_t kMost = 64;
  return text.size() <= kMost && std::ranges::all_of(text, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
         });
}

// Protobuf writes fields in the order of their numbers, and the message has no maps.
Result<RequestMark> mark_of(const v1::StartRunRequest& request) {
  if (request.request_id().empty()) return RequestMark{};
  Sha256 hash;
  hash.add(request.SerializeAsString());
  return RequestMark{.id = request.request_id(), .digest = TRY(hash.finish())};
}

}  // namespace

grpc::Status RunServiceCalls::StartRun(grpc::ServerContext* call, const v1::StartRunRequest* request,
                                       v1::StartRunResponse* response) {
  Caller caller;
  if (auto refused = context_.gate.admit(*call, Role::kRun, caller); !refused.ok()) return refused;
  if (context_.stopping)
    return {grpc::StatusCode::FAILED_PRECONDITION, "the server is about to stop and takes no new runs"};
  if (!is_request_id(request->request_id())) {
    return bad_request("request_id", "is not of at most 64 letters, digits, '-' and '_'");
  }
  const std::lock_guard lock(starting_);
  // The client may have gone while others were served.
  if (call->IsCancelled()) return grpc::Status::CANCELLED;
  const auto mark = mark_of(*request);
  if (!mark) return context_.internal(mark.error());
  const auto found = context_.store.find(caller.identity, *mark);
  if (!found) return context_.internal(found.error());
  if (*found) return answer(**found, *response);

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
  record.set_client(caller.identity);
  record.set_scenario_count(checked->scenarios);
  record.set_vcpus(checked->vcpus);
  record.set_memory_bytes(checked->memory_bytes);
  fs::path folder;
  const auto added = context_.store.add(
      std::move(record), {.all = context_.options.max_queued, .client = context_.options.max_queued_of_a_client}, *mark,
      [&](RunId id) {
        folder = context_.queue.folder(id);
        return staging->move_to(folder);
      });
  if (!added) {
    // The run is none, and the next one gets its number.
    if (!folder.empty()) fs::remove_all(folder, error);
    return context_.internal(added.error());
  }
  if (added->outcome == AddedRun::Outcome::kAdded) {
    const auto& name = added->record.name();
    context_.log(fmt::format("{} is queued: {} scenarios", name, checked->scenarios),
                 {{"run", name}, {"client", caller.identity}});
  }
  return answer(*added, *response);
}

grpc::Status RunServiceCalls::answer(const AddedRun& added, v1::StartRunResponse& response) {
  switch (added.outcome) {
    case AddedRun::Outcome::kQueueFull:
      return {grpc::StatusCode::RESOURCE_EXHAUSTED,
              fmt::format("{} runs are queued, and that is all that are taken", context_.options.max_queued)};
    case AddedRun::Outcome::kClientQueueFull:
      return {grpc::StatusCode::RESOURCE_EXHAUSTED,
              fmt::format("{} runs of this client are queued, and that is all that are taken of one",
                          context_.options.max_queued_of_a_client)};
    case AddedRun::Outcome::kAnotherRequest:
      return bad_request("request_id", "was that of a request for something else");
    case AddedRun::Outcome::kAdded:
    case AddedRun::Outcome::kThereAlready:
      break;
  }
  *response.mutable_run() = added.record;
  context_.queue.wake();
  return grpc::Status::OK;
}

grpc::Status RunServiceCalls::GetRun(grpc::ServerContext* call, const v1::GetRunRequest* request,
                                     v1::GetRunResponse* response) {
  if (auto refused = context_.admit(*call, Role::kView); !refused.ok()) return refused;
  const auto id = parse_run_name(request->name());
  if (!id) return no_such_run(request->name());
  const auto record = context_.store.get(*id);
  if (!record) return context_.internal(record.error());
  if (!*record) return no_such_run(request->name());
  *response->mutable_run() = **record;
  return grpc::Status::OK;
}

grpc::Status RunServiceCalls::ListRuns(grpc::ServerContext* call, const v1::ListRunsRequest* request,
                                       v1::ListRunsResponse* response) {
  if (auto refused = context_.admit(*call, Role::kView); !refused.ok()) return refused;
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

grpc::Status RunServiceCalls::CancelRun(grpc::ServerContext* call, const v1::CancelRunRequest* request,
                                        v1::CancelRunResponse* response) {
  Caller caller;
  if (auto refused = context_.gate.admit(*call, Role::kRun, caller); !refused.ok()) return refused;
  const auto id = parse_run_name(request->name());
  if (!id) return no_such_run(request->name());
  const auto before = context_.store.get(*id);
  if (!before) return context_.internal(before.error());
  if (!*before) return no_such_run(request->name());
  if (!caller.may_end_run_of((*before)->client())) {
    return {
        grpc::StatusCode::PERMISSION_DENIED,
        fmt::format("{} is another client's run, and {} has not the role control", request->name(), caller.identity)};
  }
  const auto record = context_.queue.cancel(*id);
  if (!record) return context_.internal(record.error());
  if (!*record) return no_such_run(request->name());
  *response->mutable_run() = **record;
  return grpc::Status::OK;
}

grpc::ServerWriteReactor<v1::WatchRunResponse>* RunServiceCalls::WatchRun(grpc::CallbackServerContext* call,
                                                                          const v1::WatchRunRequest* request) {
  return watch_run(context_, *call, *request);
}

}  // namespace panicroom::service
