// Certificates for tests, made while they run.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "harness/service/tls_files.h"

namespace panicroom::service {

struct CertificateNames {
  std::string common_name;       // Empty: none.
  std::vector<std::string> dns;  // Subject alternative names.
  std::vector<std::string> uris;
  std::vector<std::string> ips;
};

// An authority of its own, with its files in a folder.
class TestAuthority {
 public:
  // `folder` is made. All its certificates are of that name's.
  explicit TestAuthority(std::filesystem::path folder);
  TestAuthority(const TestAuthority&) = delete;
  TestAuthority& operator=(const TestAuthority&) = delete;
  ~TestAuthority();

  // `file`: what its two files are called, without their endings. `expires`: seconds from now.
  TlsFiles issue(const std::string& file, const CertificateNames& names, long expires = 3600) const;
  [[nodiscard]] std::filesystem::path ca() const { return folder_ / "ca.pem"; }

 private:
  struct Keys;
  std::filesystem::path folder_;
  std::unique_ptr<Keys> keys_;
};

}  // namespace panicroom::service
