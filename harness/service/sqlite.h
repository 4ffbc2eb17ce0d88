// As much of SQLite as the run store needs, with errors as values. All errors are kHost: the database is the server's
// own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

struct sqlite3;

namespace panicroom::service {

using SqlBlob = std::vector<std::byte>;
// What goes into a statement's placeholders, and what comes out of its columns.
using SqlValue = std::variant<std::monostate, std::int64_t, std::string, SqlBlob>;
using SqlRow = std::vector<SqlValue>;

// One thread at a time. Movable.
class Database {
 public:
  // Creates the file if it is not there. What is committed is on the disk.
  static Result<Database> open(const std::filesystem::path& path);

  // Runs one statement to its end and gives the rows that it produced.
  Result<std::vector<SqlRow>> run(std::string_view sql, const std::vector<SqlValue>& values = {});
  // Rows that the last run() changed.
  [[nodiscard]] std::int64_t changes() const;
  [[nodiscard]] std::int64_t last_insert_id() const;

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  explicit Database(sqlite3* database) : database_(database) {}

  std::unique_ptr<sqlite3, Close> database_;
};

// Rolls back, unless it was committed. The database must outlive it.
class Transaction {
 public:
  static Result<Transaction> begin(Database& database);
  Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Result<> commit();

 private:
  explicit Transaction(Database& database) : database_(&database) {}

  Database* database_;
};

}  // namespace panicroom::service
