// The service as its clients see it, with errors as values: what is behind --server. gRPC's types are left out of this
// header.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "harness/service/tls_files.h"
#include "panicroom/v1/run_service.pb.h"

namespace panicroom::service {

struct ClientOptions {
  std::string address;          // As Server::addresses() says it.
  std::optional<TlsFiles> tls;  // For a server that listens with TLS.
};

// "runs/17" for itself and for "17". kInvalidInput for what is neither.
Result<std::string> run_name_of(const std::string& text);

// Errors: kInvalidInput for what the server takes for the caller's mistake, with every violation on a line of its own;
// kHost for the rest. Texts of the server stand in them as they came. Thread-safe.
class Client {
 public:
  // Does not connect yet. kInvalidInput for wrong files of TLS, and for an address of another host without them:
  // nothing goes over a network in plain text.
  static Result<Client> open(const ClientOptions& options);
  Client(Client&& other) noexcept;
  Client& operator=(Client&&) = delete;
  ~Client();

  // Gives the request a mark of its own unless it has one, and so can ask again after a lost connection.
  Result<v1::RunRecord> start_run(const v1::StartRunRequest& request);
  Result<v1::RunRecord> get_run(const std::string& name);
  // All of them, the newest first.
  Result<std::vector<v1::RunRecord>> list_runs();
  Result<v1::RunRecord> cancel_run(const std::string& name);

  // Every event of the run from the first to the last, each once and in order, while they happen; through lost
  // connections and restarts of the server, for as long as it answers again within some minutes. `on_trouble` is told
  // when a connection is lost. Returns when the run has ended.
  Result<v1::RunEnded> watch_run(const std::string& name,
                                 const std::function<void(const v1::RunEvent& event)>& on_event,
                                 const std::function<void(std::string_view what)>& on_trouble);

  // Every file of the run into `folder`, each as a whole or not at all and as its checksum says. `on_file` is told
  // which is next.
  Result<> fetch(const std::string& name, const std::filesystem::path& folder,
                 const std::function<void(std::string_view path)>& on_file);

 private:
  class Impl;
  explicit Client(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace panicroom::service
