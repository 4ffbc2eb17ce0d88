// The files of one side of a mutual TLS connection.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"

namespace panicroom::service {

struct TlsFiles {
  std::filesystem::path certificate;  // PEM: this side's, and what is between it and its root.
  std::filesystem::path key;          // PEM: the certificate's private key.
  std::filesystem::path ca;           // PEM: the roots that the other side's certificate has to come from.
};

struct TlsTexts {
  std::string certificate;
  std::string key;
  std::string ca;
};

// Reads and checks them: each is what it has to be, the key is the certificate's, the certificate is not expired, and
// only its owner and group can read the key. kInvalidInput names the file and what is wrong with it.
Result<TlsTexts> load_tls_files(const TlsFiles& files);

}  // namespace panicroom::service
