#include "harness/service/run_store.h"

#include <google/protobuf/util/time_util.h>

#include <utility>

namespace panicroom::service {
namespace {

using google::protobuf::util::TimeUtil;

// What takes a database from each version to the next, from an empty one on.
const std::vector<std::vector<std::string_view>>& migrations() {
  static const std::vector<std::vector<std::string_view>> kMigrations = {
      {
          // AUTOINCREMENT: a number is never used again, whatever is deleted.
          R"(CREATE TABLE runs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            state INTEGER NOT NULL,
            record BLOB NOT NULL,
            process_pid INTEGER,
            process_started INTEGER,
            process_boot TEXT
          ))",
          "CREATE INDEX runs_by_state ON runs (state, id)",
      },
      {
          "ALTER TABLE runs ADD COLUMN client TEXT NOT NULL DEFAULT 'local'",
          "ALTER TABLE runs ADD COLUMN request_id TEXT",
          "ALTER TABLE runs ADD COLUMN request_digest TEXT",
          "ALTER TABLE runs ADD COLUMN end_seconds INTEGER",
          // Those that had ended by then (state 2 is running): kept as long as if they had ended now.
          "UPDATE runs SET end_seconds = CAST(strftime('%s', 'now') AS INTEGER) WHERE state > 2",
          "CREATE UNIQUE INDEX runs_by_request ON runs (client, request_id) WHERE request_id IS NOT NULL",
      },
  };
  return kMigrations;
}

std::int64_t integer(const SqlValue& value) {
  const auto* integer = std::get_if<std::int64_t>(&value);
  return integer == nullptr ? 0 : *integer;
}

std::string text(const SqlValue& value) {
  const auto* text = std::get_if<std::string>(&value);
  return text == nullptr ? std::string() : *text;
}

SqlBlob serialise(const v1::RunRecord& record) {
  SqlBlob blob(record.ByteSizeLong());
  record.SerializeToArray(blob.data(), static_cast<int>(blob.size()));
  return blob;
}

Result<v1::RunRecord> parse(const SqlValue& value) {
  const auto* blob = std::get_if<SqlBlob>(&value);
  v1::RunRecord record;
  if (blob == nullptr || !record.ParseFromArray(blob->data(), static_cast<int>(blob->size()))) {
    return host_error("the database of runs is damaged");
  }
  return record;
}

}  // namespace

bool is_final(v1::RunState state) { return state > v1::RUN_STATE_RUNNING; }

Result<std::unique_ptr<RunStore>> RunStore::open(const std::filesystem::path& path) {
  auto database = TRY(Database::open(path));
  const auto rows = TRY(database.run("PRAGMA user_version"));
  const auto version = static_cast<std::size_t>(rows.empty() ? 0 : integer(rows.front().front()));
  if (version > migrations().size()) return host_error("{} is of a newer version of panicroom", path.native());
  for (auto next = version; next < migrations().size(); ++next) {
    auto transaction = TRY(Transaction::begin(database));
    for (const auto& statement : migrations()[next]) TRY(database.run(statement));
    TRY(database.run(fmt::format("PRAGMA user_version = {}", next + 1)));
    TRY(transaction.commit());
  }
  return std::unique_ptr<RunStore>(new RunStore(std::move(database)));
}

Result<std::optional<AddedRun>> RunStore::find(const std::string& client, const RequestMark& mark) {
  const std::lock_guard lock(mutex_);
  return find_locked(client, mark);
}

Result<std::optional<AddedRun>> RunStore::find_locked(const std::string& client, const RequestMark& mark) {
  if (mark.id.empty()) return std::optional<AddedRun>();
  const auto rows = TRY(
      database_.run("SELECT record, request_digest FROM runs WHERE client = ? AND request_id = ?", {client, mark.id}));
  if (rows.empty()) return std::optional<AddedRun>();
  AddedRun found{.outcome = AddedRun::Outcome::kAnotherRequest, .record = {}};
  if (text(rows.front()[1]) == mark.digest) {
    found.outcome = AddedRun::Outcome::kThereAlready;
    found.record = TRY(parse(rows.front()[0]));
  }
  return std::optional<AddedRun>(std::move(found));
}

Result<AddedRun> RunStore::add(v1::RunRecord record, const QueueLimits& limits, const RequestMark& mark,
                               const std::function<Result<>(RunId id)>& prepare) {
  const std::lock_guard lock(mutex_);
  auto transaction = TRY(Transaction::begin(database_));
  if (auto found = TRY(find_locked(record.client(), mark))) return *std::move(found);
  const auto queued = TRY(database_.run("SELECT COUNT(*), COALESCE(SUM(client = ?), 0) FROM runs WHERE state = ?",
                                        {record.client(), std::int64_t{v1::RUN_STATE_QUEUED}}));
  if (integer(queued.front()[0]) >= static_cast<std::int64_t>(limits.all)) {
    return AddedRun{.outcome = AddedRun::Outcome::kQueueFull, .record = {}};
  }
  if (integer(queued.front()[1]) >= static_cast<std::int64_t>(limits.client)) {
    return AddedRun{.outcome = AddedRun::Outcome::kClientQueueFull, .record = {}};
  }
  const bool marked = !mark.id.empty();
  TRY(database_.run("INSERT INTO runs (state, record, client, request_id, request_digest) VALUES (?, ?, ?, ?, ?)",
                    {std::int64_t{v1::RUN_STATE_QUEUED}, SqlBlob(), record.client(),
                     marked ? SqlValue(mark.id) : SqlValue(), marked ? SqlValue(mark.digest) : SqlValue()}));
  const RunId id{database_.last_insert_id()};
  record.set_name(run_name(id));
  record.set_state(v1::RUN_STATE_QUEUED);
  *record.mutable_create_time() = TimeUtil::GetCurrentTime();
  TRY(database_.run("UPDATE runs SET record = ? WHERE id = ?", {serialise(record), number(id)}));
  TRY(prepare(id));
  TRY(transaction.commit());
  return AddedRun{.outcome = AddedRun::Outcome::kAdded, .record = std::move(record)};
}

Result<std::optional<v1::RunRecord>> RunStore::get(RunId id) {
  const std::lock_guard lock(mutex_);
  const auto rows = TRY(database_.run("SELECT record FROM runs WHERE id = ?", {number(id)}));
  if (rows.empty()) return std::optional<v1::RunRecord>();
  return std::optional<v1::RunRecord>(TRY(parse(rows.front().front())));
}

Result<std::vector<v1::RunRecord>> RunStore::list(v1::RunState state, RunId before, std::size_t limit) {
  const std::lock_guard lock(mutex_);
  const auto most = static_cast<std::int64_t>(limit);
  const auto rows =
      state == v1::RUN_STATE_UNSPECIFIED
          ? TRY(database_.run("SELECT record FROM runs WHERE id < ? ORDER BY id DESC LIMIT ?", {number(before), most}))
          : TRY(database_.run("SELECT record FROM runs WHERE state = ? AND id < ? ORDER BY id DESC LIMIT ?",
                              {std::int64_t{state}, number(before), most}));
  std::vector<v1::RunRecord> records;
  records.reserve(rows.size());
  for (const auto& row : rows) records.push_back(TRY(parse(row.front())));
  return records;
}

Result<std::optional<RunId>> RunStore::oldest(v1::RunState state) {
  const std::lock_guard lock(mutex_);
  const auto rows =
      TRY(database_.run("SELECT id FROM runs WHERE state = ? ORDER BY id LIMIT 1", {std::int64_t{state}}));
  if (rows.empty()) return std::optional<RunId>();
  return std::optional<RunId>(RunId(integer(rows.front().front())));
}

Result<std::vector<v1::RunRecord>> RunStore::queued(std::size_t limit) {
  const std::lock_guard lock(mutex_);
  const auto rows = TRY(database_.run("SELECT record FROM runs WHERE state = ? ORDER BY id LIMIT ?",
                                      {std::int64_t{v1::RUN_STATE_QUEUED}, static_cast<std::int64_t>(limit)}));
  std::vector<v1::RunRecord> records;
  records.reserve(rows.size());
  for (const auto& row : rows) records.push_back(TRY(parse(row.front())));
  return records;
}

Result<std::map<v1::RunState, std::uint64_t>> RunStore::counts() {
  const std::lock_guard lock(mutex_);
  std::map<v1::RunState, std::uint64_t> counts;
  for (const auto& row : TRY(database_.run("SELECT state, COUNT(*) FROM runs GROUP BY state"))) {
    counts[static_cast<v1::RunState>(integer(row[0]))] = static_cast<std::uint64_t>(integer(row[1]));
  }
  return counts;
}

Result<std::vector<EndedRun>> RunStore::ended() {
  const std::lock_guard lock(mutex_);
  std::vector<EndedRun> ended;
  const auto rows = TRY(database_.run("SELECT id, end_seconds FROM runs WHERE state > ? ORDER BY end_seconds, id",
                                      {std::int64_t{v1::RUN_STATE_RUNNING}}));
  ended.reserve(rows.size());
  for (const auto& row : rows) ended.push_back({.id = RunId(integer(row[0])), .end_seconds = integer(row[1])});
  return ended;
}

Result<> RunStore::update(RunId id, const v1::RunRecord& record) {
  const std::lock_guard lock(mutex_);
  TRY(database_.run(
      "UPDATE runs SET state = ?, record = ?, end_seconds = ? WHERE id = ?",
      {std::int64_t{record.state()}, serialise(record),
       record.has_end_time() ? SqlValue(std::int64_t{record.end_time().seconds()}) : SqlValue(), number(id)}));
  return {};
}

Result<bool> RunStore::remove(RunId id) {
  const std::lock_guard lock(mutex_);
  TRY(database_.run("DELETE FROM runs WHERE id = ? AND state > ?", {number(id), std::int64_t{v1::RUN_STATE_RUNNING}}));
  return database_.changes() > 0;
}

Result<> RunStore::set_process(RunId id, const ProcessIdentity& process) {
  const std::lock_guard lock(mutex_);
  TRY(database_.run(
      "UPDATE runs SET process_pid = ?, process_started = ?, process_boot = ? WHERE id = ?",
      {std::int64_t{process.pid}, static_cast<std::int64_t>(process.started), process.boot_id, number(id)}));
  return {};
}

Result<std::optional<ProcessIdentity>> RunStore::process(RunId id) {
  const std::lock_guard lock(mutex_);
  const auto rows =
      TRY(database_.run("SELECT process_pid, process_started, process_boot FROM runs WHERE id = ?", {number(id)}));
  if (rows.empty() || integer(rows.front()[0]) == 0) return std::optional<ProcessIdentity>();
  return std::optional<ProcessIdentity>({.pid = static_cast<pid_t>(integer(rows.front()[0])),
                                         .started = static_cast<std::uint64_t>(integer(rows.front()[1])),
                                         .boot_id = text(rows.front()[2])});
}

}  // namespace panicroom::service
