#include "harness/service/test_certificates.h"

#include <gtest/gtest.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <cstdio>

namespace panicroom::service {
namespace {

namespace fs = std::filesystem;

using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using File = std::unique_ptr<std::FILE, decltype(&std::fclose)>;

Key make_key() { return {EVP_EC_gen("P-256"), EVP_PKEY_free}; }

void add_extension(X509& certificate, int nid, const std::string& value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
  EXPECT_NE(extension, nullptr) << value;
  X509_add_ext(&certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

Certificate make_certificate(EVP_PKEY& key, const CertificateNames& names, long expires, bool authority,
                             const X509_NAME* issuer, EVP_PKEY& issuer_key) {
  Certificate certificate(X509_new(), X509_free);
  X509_set_version(certificate.get(), X509_VERSION_3);
  std::uint32_t serial = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof(serial));
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), serial >> 1);
  constexpr long kHour = 3600;
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), expires - 2 * kHour);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), expires);
  X509_set_pubkey(certificate.get(), &key);
  X509_NAME* const name = X509_get_subject_name(certificate.get());
  if (!names.common_name.empty()) {
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(names.common_name.c_str()), -1, -1, 0);
  }
  X509_set_issuer_name(certificate.get(), issuer == nullptr ? name : issuer);
  if (authority) add_extension(*certificate, NID_basic_constraints, "critical,CA:TRUE");
  std::string alternatives;
  for (const auto& dns : names.dns) alternatives += (alternatives.empty() ? "DNS:" : ",DNS:") + dns;
  for (const auto& uri : names.uris) alternatives += (alternatives.empty() ? "URI:" : ",URI:") + uri;
  for (const auto& ip : names.ips) alternatives += (alternatives.empty() ? "IP:" : ",IP:") + ip;
  if (!alternatives.empty()) add_extension(*certificate, NID_subject_alt_name, alternatives);
  EXPECT_GT(X509_sign(certificate.get(), &issuer_key, EVP_sha256()), 0);
  return certificate;
}

void write_certificate(const fs::path& path, X509& certificate) {
  const File file(std::fopen(path.c_str(), "we"), std::fclose);
  ASSERT_TRUE(file && PEM_write_X509(file.get(), &certificate) == 1);
}

}  // namespace

struct TestAuthority::Keys {
  Key key;
  Certificate certificate;
};

TestAuthority::TestAuthority(fs::path folder) : folder_(std::move(folder)) {
  fs::create_directories(folder_);
  Key key = make_key();
  auto certificate = make_certificate(
      *key, {.common_name = folder_.filename().string(), .dns = {}, .uris = {}, .ips = {}}, 3600, true, nullptr, *key);
  write_certificate(ca(), *certificate);
  keys_ = std::unique_ptr<Keys>(new Keys{.key = std::move(key), .certificate = std::move(certificate)});
}

TestAuthority::~TestAuthority() = default;

TlsFiles TestAuthority::issue(const std::string& file, const CertificateNames& names, long expires) const {
  const Key key = make_key();
  const auto certificate =
      make_certificate(*key, names, expires, false, X509_get_subject_name(keys_->certificate.get()), *keys_->key);
  TlsFiles files{.certificate = folder_ / (file + ".pem"), .key = folder_ / (file + ".key"), .ca = ca()};
  write_certificate(files.certificate, *certificate);
  {
    const File out(std::fopen(files.key.c_str(), "we"), std::fclose);
    EXPECT_TRUE(out && PEM_write_PrivateKey(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1);
  }
  fs::permissions(files.key, fs::perms::owner_read | fs::perms::owner_write);
  return files;
}

}  // namespace panicroom::service
