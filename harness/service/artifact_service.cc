#include "harness/service/artifact_service.h"

#include <grpcpp/alarm.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <utility>

#include "harness/service/artifact_files.h"

namespace panicroom::service {
namespace {

constexpr std::size_t kChunk = std::size_t{64} << 10;

grpc::Status no_such_file(const std::string& name) {
  return {grpc::StatusCode::NOT_FOUND, fmt::format("there is no file {}", name.substr(0, 600))};
}

grpc::Status send(ArtifactReader& file, const v1::DownloadArtifactRequest& request, const ServiceContext& context,
                  const grpc::ServerContext& call, grpc::ServerWriter<v1::DownloadArtifactResponse>& writer) {
  if (request.offset() > file.size()) {
    return {grpc::StatusCode::OUT_OF_RANGE, fmt::format("the file has {} bytes", file.size())};
  }
  std::uint64_t done = 0;
  while (done < file.size()) {
    if (call.IsCancelled()) return grpc::Status::CANCELLED;
    // What the client has is read for the checksum.
    const bool wanted = done >= request.offset();
    auto bytes =
        file.read(static_cast<std::size_t>(std::min<std::uint64_t>(kChunk, wanted ? kChunk : request.offset() - done)));
    if (!bytes) return context.internal(bytes.error());
    done += bytes->size();
    if (!wanted) continue;
    v1::DownloadArtifactResponse response;
    response.set_chunk(*std::move(bytes));
    if (!writer.Write(response)) return grpc::Status::CANCELLED;
  }
  auto digest = file.digest();
  if (!digest) return context.internal(digest.error());
  v1::DownloadArtifactResponse response;
  response.mutable_digest()->set_size_bytes(file.size());
  response.mutable_digest()->set_sha256(*std::move(digest));
  return writer.Write(response) ? grpc::Status::OK : grpc::Status::CANCELLED;
}

}  // namespace

grpc::Status ArtifactServiceCalls::ListArtifacts(grpc::ServerContext* call, const v1::ListArtifactsRequest* request,
                                                 v1::ListArtifactsResponse* response) {
  if (auto refused = context_.admit(*call, Role::kView); !refused.ok()) return refused;
  const auto id = parse_run_name(request->parent());
  if (!id) return no_such_run(request->parent());
  const auto size = page_size(request->page_size());
  if (!size) return bad_request("page_size", "is negative");
  const auto record = context_.store.get(*id);
  if (!record) return context_.internal(record.error());
  if (!*record) return no_such_run(request->parent());
  const auto files = list_artifacts(context_.queue.folder(*id) / kOutFolder);
  auto file = request->page_token().empty()
                  ? files.begin()
                  : std::ranges::upper_bound(files, request->page_token(), {}, &ArtifactFile::path);
  for (; file != files.end(); ++file) {
    if (static_cast<std::size_t>(response->artifacts_size()) == *size) {
      response->set_next_page_token(std::prev(file)->path);
      break;
    }
    auto& artifact = *response->add_artifacts();
    artifact.set_name(artifact_name(*id, file->path));
    artifact.set_size_bytes(file->bytes);
  }
  return grpc::Status::OK;
}

grpc::Status ArtifactServiceCalls::DownloadArtifact(grpc::ServerContext* call,
                                                    const v1::DownloadArtifactRequest* request,
                                                    grpc::ServerWriter<v1::DownloadArtifactResponse>* writer) {
  if (auto refused = context_.admit(*call, Role::kView); !refused.ok()) return refused;
  const auto name = parse_artifact_name(request->name());
  if (!name) return no_such_file(request->name());
  auto file = ArtifactReader::open(context_.queue.folder(name->run) / kOutFolder, name->path);
  if (!file) return no_such_file(request->name());
  // Each has a thread for as long as it takes, and a client that reads nothing would have it for ever.
  grpc::Status status(grpc::StatusCode::RESOURCE_EXHAUSTED, "too many files are being downloaded");
  if (++downloads_ <= context_.options.max_downloads) {
    std::atomic<bool> late = false;
    grpc::Alarm alarm;
    std::promise<void> alarm_gone;
    alarm.Set(std::chrono::system_clock::now() + context_.options.download_time, [&](bool rang) {
      if (rang) {
        late = true;
        call->TryCancel();
      }
      alarm_gone.set_value();
    });
    status = send(**file, *request, context_, *call, *writer);
    alarm.Cancel();
    alarm_gone.get_future().wait();
    if (late && !status.ok()) {
      status = {grpc::StatusCode::DEADLINE_EXCEEDED, "the download took too long; it can be resumed where it ended"};
    }
  }
  --downloads_;
  return status;
}

}  // namespace panicroom::service
