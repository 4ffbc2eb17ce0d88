#include "harness/service/tls_files.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <cerrno>
#include <memory>

#include "base/file.h"

namespace panicroom::service {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxFileBytes = std::size_t{1} << 20;

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

Result<std::string> read_pem(const fs::path& path, std::string_view what) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    const int error = errno;
    return invalid_input("the {} {}: {}", what, path.native(), errno_error(error, "reading").message());
  }
  if (!S_ISREG(status.st_mode) || static_cast<std::size_t>(status.st_size) > kMaxFileBytes) {
    return invalid_input("the {} {} is no file of at most {} bytes", what, path.native(), kMaxFileBytes);
  }
  auto text = read_text_file(path);
  if (!text) return invalid_input("the {}: {}", what, text.error().message());
  return text;
}

Bio memory(const std::string& text) { return {BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free}; }

Result<Certificate> parse_certificate(const std::string& text, const fs::path& path, std::string_view what) {
  const Bio bio = memory(text);
  Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr), X509_free);
  ERR_clear_error();
  if (!certificate) return invalid_input("the {} {} has no certificate in PEM", what, path.native());
  if (X509_cmp_current_time(X509_get0_notAfter(certificate.get())) < 0) {
    return invalid_input("the {} {} has expired", what, path.native());
  }
  return certificate;
}

}  // namespace

Result<TlsTexts> load_tls_files(const TlsFiles& files) {
  TlsTexts texts{.certificate = {}, .key = {}, .ca = {}};
  texts.certificate = TRY(read_pem(files.certificate, "certificate"));
  texts.key = TRY(read_pem(files.key, "key"));
  texts.ca = TRY(read_pem(files.ca, "CA"));
  const auto certificate = TRY(parse_certificate(texts.certificate, files.certificate, "certificate"));
  TRY(parse_certificate(texts.ca, files.ca, "CA"));

  struct stat status {};
  if (::stat(files.key.c_str(), &status) == 0 && (status.st_mode & S_IRWXO) != 0) {
    return invalid_input("the key {} is open to everybody: chmod o= {}", files.key.native(), files.key.native());
  }
  const Bio bio = memory(texts.key);
  // An empty passphrase: nobody is there to be asked for one.
  const Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, const_cast<char*>("")), EVP_PKEY_free);
  ERR_clear_error();
  if (!key) return invalid_input("the key {} has no private key in PEM without a passphrase", files.key.native());
  const bool belongs = X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (!belongs) {
    return invalid_input("the key {} is not that of the certificate {}", files.key.native(),
                         files.certificate.native());
  }
  return texts;
}

}  // namespace panicroom::service
