// KernelService and HostService: what the server's host has. Includes gRPC's headers: for the service's own sources.
#pragma once

#include "harness/service/service_context.h"
#include "panicroom/v1/host_service.grpc.pb.h"
#include "panicroom/v1/kernel_service.grpc.pb.h"

namespace panicroom::service {

class KernelServiceCalls final : public v1::KernelService::Service {
 public:
  // The context must outlive it.
  explicit KernelServiceCalls(ServiceContext& context) : context_(context) {}

  grpc::Status ListKernels(grpc::ServerContext* call, const v1::ListKernelsRequest* request,
                           v1::ListKernelsResponse* response) override;

 private:
  ServiceContext& context_;
  std::mutex mutex_;
};

class HostServiceCalls final : public v1::HostService::Service {
 public:
  // The context must outlive it.
  explicit HostServiceCalls(ServiceContext& context) : context_(context) {}

  grpc::Status GetHost(grpc::ServerContext* call, const v1::GetHostRequest* request,
                       v1::GetHostResponse* response) override;

 private:
  ServiceContext& context_;
};

}  // namespace panicroom::service
