#include "harness/service/run_store.h"

#include <google/protobuf/util/time_util.h>

#include <utility>

namespace panicroom::service {
namespace {

using google::protobuf::util::TimeUtil;

constexpr std::int64_t kSchemaVersion = 1;

// AUTOINCREMENT: a number is never used again, whatever is deleted.
constexpr std::string_view kSchema = R"(
CREATE TABLE runs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  state INTEGER NOT NULL,
  record BLOB NOT NULL,
  process_pid INTEGER,
  process_started INTEGER,
  process_boot TEXT
))";

std::int64_t integer(const SqlValue& value) {
  const auto* integer = std::get_if<std::int64_t>(&value);
  return integer == nullptr ? 0 : *integer;
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
  const auto version = rows.empty() ? 0 : integer(rows.front().front());
  if (version > kSchemaVersion) return host_error("{} is of a newer version of panicroom", path.native());
  if (version == 0) {
    auto transaction = TRY(Transaction::begin(database));
    TRY(database.run(kSchema));
    TRY(database.run("CREATE INDEX runs_by_state ON runs (state, id)"));
    TRY(database.run(fmt::format("PRAGMA user_version = {}", kSchemaVersion)));
    TRY(transaction.commit());
  }
  return std::unique_ptr<RunStore>(new RunStore(std::move(database)));
}

Result<std::optional<v1::RunRecord>> RunStore::add(v1::RunRecord record, std::size_t queue_limit,
                                                   const std::function<Result<>(RunId id)>& prepare) {
  const std::lock_guard lock(mutex_);
  auto transaction = TRY(Transaction::begin(database_));
  const auto queued =
      TRY(database_.run("SELECT COUNT(*) FROM runs WHERE state = ?", {std::int64_t{v1::RUN_STATE_QUEUED}}));
  if (integer(queued.front().front()) >= static_cast<std::int64_t>(queue_limit)) return std::optional<v1::RunRecord>();
  TRY(database_.run("INSERT INTO runs (state, record) VALUES (?, ?)", {std::int64_t{v1::RUN_STATE_QUEUED}, SqlBlob()}));
  const RunId id{database_.last_insert_id()};
  record.set_name(run_name(id));
  record.set_state(v1::RUN_STATE_QUEUED);
  *record.mutable_create_time() = TimeUtil::GetCurrentTime();
  TRY(database_.run("UPDATE runs SET record = ? WHERE id = ?", {serialise(record), number(id)}));
  TRY(prepare(id));
  TRY(transaction.commit());
  return std::optional<v1::RunRecord>(std::move(record));
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

Result<> RunStore::update(RunId id, const v1::RunRecord& record) {
  const std::lock_guard lock(mutex_);
  TRY(database_.run("UPDATE runs SET state = ?, record = ? WHERE id = ?",
                    {std::int64_t{record.state()}, serialise(record), number(id)}));
  return {};
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
  const auto* boot = std::get_if<std::string>(&rows.front()[2]);
  return std::optional<ProcessIdentity>({.pid = static_cast<pid_t>(integer(rows.front()[0])),
                                         .started = static_cast<std::uint64_t>(integer(rows.front()[1])),
                                         .boot_id = boot == nullptr ? std::string() : *boot});
}

}  // namespace panicroom::service
