#include "harness/service/watch_run.h"

#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "harness/events/run_journal.h"

namespace panicroom::service {
namespace {

class RunWatch final : public grpc::ServerWriteReactor<v1::WatchRunResponse> {
 public:
  explicit RunWatch(ServiceContext& context) : context_(context) {}

  void begin(const grpc::CallbackServerContext& call, const v1::WatchRunRequest& request) {
    const std::lock_guard lock(link_->mutex);
    Caller caller;
    if (const auto refused = context_.gate.admit(call, Role::kView, caller); !refused.ok()) return finish(refused);
    const auto id = parse_run_name(request.name());
    if (!id) return finish(no_such_run(request.name()));
    const auto [all, of_client] = context_.watchers.counts(caller.identity);
    if (all >= context_.options.max_watchers || of_client >= context_.options.max_watchers_of_a_client) {
      return finish({grpc::StatusCode::RESOURCE_EXHAUSTED, all >= context_.options.max_watchers
                                                               ? "too many clients are watching runs"
                                                               : "this client is watching too many runs"});
    }
    id_ = *id;
    after_ = request.after_sequence();
    // Before the look at its state, so that its end cannot be missed.
    watching_ = context_.watchers.watch(id_, caller.identity, [link = link_](bool ended) {
      const std::lock_guard locked(link->mutex);
      if (link->watch == nullptr) return;
      link->watch->ended_ = link->watch->ended_ || ended;
      link->watch->go_on();
    });
    const auto record = context_.store.get(id_);
    if (!record) return finish(context_.internal(record.error()));
    if (!*record) return finish(no_such_run(request.name()));
    ended_ = is_final((*record)->state());
    go_on();
  }

  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(link_->mutex);
    writing_ = false;
    if (!ok || cancelled_) return finish(grpc::Status::CANCELLED);
    if (last_written_) return finish(grpc::Status::OK);
    go_on();
  }

  void OnCancel() override {
    const std::lock_guard lock(link_->mutex);
    cancelled_ = true;
    if (!writing_) finish(grpc::Status::CANCELLED);
  }

  void OnDone() override {
    {
      const std::lock_guard lock(link_->mutex);
      link_->watch = nullptr;
    }
    delete this;
  }

 private:
  // What outlives the stream: a notification may be on its way when it ends.
  struct Link {
    explicit Link(RunWatch* to) : watch(to) {}
    std::mutex mutex;  // Everything of the watch.
    RunWatch* watch;   // Null: it is gone.
  };

  void finish(const grpc::Status& status) {
    if (finished_) return;
    finished_ = true;
    watching_.reset();
    Finish(status);
  }

  void write(v1::RunEvent event) {
    *response_.mutable_event() = std::move(event);
    writing_ = true;
    StartWrite(&response_);
  }

  // Writes the next event if there is one and no other is being written.
  void go_on() {
    if (writing_ || finished_) return;
    const bool ended = ended_;
    auto event = next();
    if (!event) return finish(context_.internal(event.error()));
    if (*event) return write(**std::move(event));
    if (ended) end();
  }

  Result<std::optional<v1::RunEvent>> next() {
    if (!reader_) {
      auto opened = harness::RunJournalReader::open(context_.queue.folder(id_) / harness::kRunJournalFile);
      // A run that has not begun has none yet.
      if (!opened) return std::optional<v1::RunEvent>();
      reader_ = *std::move(opened);
    }
    while (reader_->sequence() < after_) {
      if (!TRY(reader_->skip())) return std::optional<v1::RunEvent>();
    }
    return reader_->next();
  }

  // The journal has been read to its end and nothing will be added to it.
  void end() {
    const auto sequence = (reader_ ? reader_->sequence() : 0) + 1;
    if (after_ > sequence) {
      return finish({grpc::StatusCode::OUT_OF_RANGE, fmt::format("the run's last event has the number {}", sequence)});
    }
    if (after_ == sequence) return finish(grpc::Status::OK);
    const auto record = context_.store.get(id_);
    if (!record) return finish(context_.internal(record.error()));
    if (!*record) return finish(no_such_run(run_name(id_)));
    v1::RunEvent event;
    event.set_sequence(sequence);
    *event.mutable_time() = (*record)->end_time();
    auto& ended = *event.mutable_ended();
    ended.set_state((*record)->state());
    ended.set_exit_status((*record)->exit_status());
    ended.set_error((*record)->error());
    if ((*record)->has_counts()) *ended.mutable_counts() = (*record)->counts();
    last_written_ = true;
    write(std::move(event));
  }

  ServiceContext& context_;
  std::shared_ptr<Link> link_ = std::make_shared<Link>(this);
  RunId id_{};
  std::uint64_t after_ = 0;
  std::shared_ptr<void> watching_;
  std::optional<harness::RunJournalReader> reader_;
  v1::WatchRunResponse response_;  // While it is being written.
  bool ended_ = false;             // The run has.
  bool writing_ = false;
  bool last_written_ = false;
  bool cancelled_ = false;
  bool finished_ = false;
};

}  // namespace

grpc::ServerWriteReactor<v1::WatchRunResponse>* watch_run(ServiceContext& context,
                                                          const grpc::CallbackServerContext& call,
                                                          const v1::WatchRunRequest& request) {
  auto watch = std::make_unique<RunWatch>(context);
  watch->begin(call, request);
  return watch.release();
}

}  // namespace panicroom::service
