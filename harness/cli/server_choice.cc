#include "harness/cli/server_choice.h"

#include "harness/service/server.h"

namespace panicroom::cli {

Result<std::optional<service::TlsFiles>> tls_files(const std::filesystem::path& certificate,
                                                   const std::filesystem::path& key, const std::filesystem::path& ca) {
  std::string missing;
  const auto need = [&](const std::filesystem::path& path, const char* option) {
    if (path.empty()) missing += (missing.empty() ? "" : ", ") + std::string(option);
  };
  need(certificate, "--tls-certificate");
  need(key, "--tls-key");
  need(ca, "--tls-ca");
  if (certificate.empty() && key.empty() && ca.empty()) return std::optional<service::TlsFiles>();
  if (!missing.empty()) return invalid_input("TLS takes three files, and these are missing: {}", missing);
  return std::optional<service::TlsFiles>({.certificate = certificate, .key = key, .ca = ca});
}

Result<service::Client> connect(const ServerChoice& choice) {
  service::ClientOptions options{.address = choice.address,
                                 .tls = TRY(tls_files(choice.certificate, choice.key, choice.ca))};
  if (options.address.empty()) options.address = service::default_address(TRY(service::default_state_directory()));
  return service::Client::open(options);
}

}  // namespace panicroom::cli
