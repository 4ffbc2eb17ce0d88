#include "harness/service/sqlite.h"

#include <sqlite3.h>

#include <utility>

namespace panicroom::service {
namespace {

struct Finalize {
  void operator()(sqlite3_stmt* statement) const { ::sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

Error error_of(sqlite3* database, std::string_view what) {
  return host_error("{}: {}", what, ::sqlite3_errmsg(database));
}

// SQLITE_STATIC: the values outlive the statement.
int bind(sqlite3_stmt* statement, int index, const SqlValue& value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return ::sqlite3_bind_int64(statement, index, *integer);
  if (const auto* text = std::get_if<std::string>(&value)) {
    return ::sqlite3_bind_text64(statement, index, text->data(), text->size(), nullptr, SQLITE_UTF8);
  }
  if (const auto* blob = std::get_if<SqlBlob>(&value)) {
    // Not null, which an empty vector's data may be and which would bind NULL.
    return ::sqlite3_bind_blob64(statement, index, blob->empty() ? static_cast<const void*>("") : blob->data(),
                                 blob->size(), nullptr);
  }
  return ::sqlite3_bind_null(statement, index);
}

SqlValue column(sqlite3_stmt* statement, int index) {
  switch (::sqlite3_column_type(statement, index)) {
    case SQLITE_INTEGER:
      return std::int64_t{::sqlite3_column_int64(statement, index)};
    case SQLITE_TEXT: {
      const auto* text = reinterpret_cast<const char*>(::sqlite3_column_text(statement, index));
      return std::string(text, static_cast<std::size_t>(::sqlite3_column_bytes(statement, index)));
    }
    case SQLITE_BLOB: {
      const auto* data = static_cast<const std::byte*>(::sqlite3_column_blob(statement, index));
      return SqlBlob(data, data + ::sqlite3_column_bytes(statement, index));
    }
    default:
      return std::monostate();
  }
}

}  // namespace

void Database::Close::operator()(sqlite3* database) const { ::sqlite3_close(database); }

Result<Database> Database::open(const std::filesystem::path& path) {
  sqlite3* raw = nullptr;
  const int status = ::sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  Database database(raw);
  const auto context = fmt::format("opening {}", path.native());
  if (status != SQLITE_OK) return raw == nullptr ? host_error("{}: out of memory", context) : error_of(raw, context);
  // A write-ahead log lets a killed process's last transaction be found again; FULL puts each on the disk.
  TRY_CONTEXT(context, database.run("PRAGMA journal_mode = WAL"));
  TRY_CONTEXT(context, database.run("PRAGMA synchronous = FULL"));
  return database;
}

Result<std::vector<SqlRow>> Database::run(std::string_view sql, const std::vector<SqlValue>& values) {
  sqlite3_stmt* raw = nullptr;
  if (::sqlite3_prepare_v2(database_.get(), sql.data(), static_cast<int>(sql.size()), &raw, nullptr) != SQLITE_OK) {
    return error_of(database_.get(), sql);
  }
  const Statement statement(raw);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (bind(raw, static_cast<int>(i) + 1, values[i]) != SQLITE_OK) return error_of(database_.get(), sql);
  }
  std::vector<SqlRow> rows;
  while (true) {
    const int status = ::sqlite3_step(raw);
    if (status == SQLITE_DONE) return rows;
    if (status != SQLITE_ROW) return error_of(database_.get(), sql);
    SqlRow& row = rows.emplace_back();
    for (int i = 0; i < ::sqlite3_column_count(raw); ++i) row.push_back(column(raw, i));
  }
}

std::int64_t Database::changes() const { return ::sqlite3_changes64(database_.get()); }
std::int64_t Database::last_insert_id() const { return ::sqlite3_last_insert_rowid(database_.get()); }

Result<Transaction> Transaction::begin(Database& database) {
  TRY(database.run("BEGIN IMMEDIATE"));
  return Transaction(database);
}

Transaction::~Transaction() {
  if (database_ == nullptr) return;
  [[maybe_unused]] const auto rolled_back = database_->run("ROLLBACK");
}

Result<> Transaction::commit() {
  TRY(database_->run("COMMIT"));
  database_ = nullptr;
  return {};
}

}  // namespace panicroom::service
