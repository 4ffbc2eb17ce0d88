// ArtifactService. Includes gRPC's headers: for the service's own sources.
#pragma once

#include <atomic>

#include "harness/service/service_context.h"
#include "panicroom/v1/artifact_service.grpc.pb.h"

namespace panicroom::service {

class ArtifactServiceCalls final : public v1::ArtifactService::Service {
 public:
  // The context must outlive it.
  explicit ArtifactServiceCalls(ServiceContext& context) : context_(context) {}

  grpc::Status ListArtifacts(grpc::ServerContext* call, const v1::ListArtifactsRequest* request,
                             v1::ListArtifactsResponse* response) override;
  grpc::Status DownloadArtifact(grpc::ServerContext* call, const v1::DownloadArtifactRequest* request,
                                grpc::ServerWriter<v1::DownloadArtifactResponse>* writer) override;

 private:
  ServiceContext& context_;
  std::atomic<std::size_t> downloads_ = 0;
};

}  // namespace panicroom::service
