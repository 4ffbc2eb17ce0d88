#include "harness/service/lookup_services.h"

#include <charconv>

namespace panicroom::service {

grpc::Status KernelServiceCalls::ListKernels(grpc::ServerContext* call, const v1::ListKernelsRequest* request,
                                             v1::ListKernelsResponse* response) {
  if (auto refused = context_.admit(*call, Role::kView); !refused.ok()) return refused;
  const auto size = page_size(request->page_size());
  if (!size) return bad_request("page_size", "is negative");
  const std::string& token = request->page_token();
  std::size_t first = 0;
  if (!token.empty()) {
    const auto parsed = std::from_chars(token.data(), token.data() + token.size(), first);
    if (parsed.ec != std::errc() || parsed.ptr != token.data() + token.size()) {
      return bad_request("page_token", "is none of this server's");
    }
  }
  const std::lock_guard lock(mutex_);
  std::size_t index = 0;
  for (const auto& kernel :
       context_.options.kernels ? context_.options.kernels() : std::vector<kernels::StoredKernel>()) {
    // Others are known by the path of a file, which clients do not name.
    if (kernel.package_version.empty() || kernel.release.empty()) continue;
    if (index++ < first) continue;
    if (static_cast<std::size_t>(response->kernels_size()) == *size) {
      response->set_next_page_token(fmt::format("{}", index - 1));
      break;
    }
    auto& listed = *response->add_kernels();
    listed.set_name("kernels/" + kernel.release);
    listed.set_reference("debian:" + kernel.release);
    listed.set_release(kernel.release);
    listed.set_package_version(kernel.package_version);
  }
  return grpc::Status::OK;
}

grpc::Status HostServiceCalls::GetHost(grpc::ServerContext* call, const v1::GetHostRequest* /*request*/,
                                       v1::GetHostResponse* response) {
  if (auto refused = context_.admit(*call, Role::kView); !refused.ok()) return refused;
  *response->mutable_host() = context_.options.host;
  response->set_panicroom_version(context_.options.version);
  return grpc::Status::OK;
}

}  // namespace panicroom::service
