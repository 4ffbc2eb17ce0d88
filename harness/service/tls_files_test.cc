#include "harness/service/tls_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/testing/temporary_directory.h"
#include "harness/service/test_certificates.h"

namespace panicroom::service {
namespace {

using testing::HasSubstr;

class TlsFilesTest : public testing::Test {
 protected:
  static std::string error_of(const TlsFiles& files) {
    const auto texts = load_tls_files(files);
    if (texts) return "";
    EXPECT_EQ(texts.error().kind(), ErrorKind::kInvalidInput);
    return texts.error().message();
  }

  TemporaryDirectory directory_;
  TestAuthority authority_{directory_.path() / "lab"};
  TlsFiles files_ = authority_.issue("host", {.common_name = "host", .dns = {}, .uris = {}, .ips = {}});
};

TEST_F(TlsFilesTest, GoodFilesAreTaken) {
  const auto texts = load_tls_files(files_);
  ASSERT_TRUE(texts) << texts.error().message();
  EXPECT_THAT(texts->certificate, HasSubstr("BEGIN CERTIFICATE"));
  EXPECT_THAT(texts->key, HasSubstr("PRIVATE KEY"));
}

TEST_F(TlsFilesTest, EachMistakeNamesItsFile) {
  auto files = files_;
  files.certificate = directory_.path() / "nothing.pem";
  EXPECT_THAT(error_of(files), HasSubstr("nothing.pem"));
  files.certificate = directory_.path();
  EXPECT_THAT(error_of(files), HasSubstr("is no file"));
  files = files_;
  files.ca = files.key;
  EXPECT_THAT(error_of(files), HasSubstr("host.key has no certificate"));
  files = files_;
  files.key = files.certificate;
  std::filesystem::permissions(files.key, std::filesystem::perms::owner_read);
  EXPECT_THAT(error_of(files), HasSubstr("host.pem has no private key"));
  files = files_;
  files.key = authority_.issue("other", {.common_name = "other", .dns = {}, .uris = {}, .ips = {}}).key;
  EXPECT_THAT(error_of(files), HasSubstr("other.key is not that of the certificate"));
  EXPECT_THAT(error_of(authority_.issue("old", {.common_name = "old", .dns = {}, .uris = {}, .ips = {}}, -60)),
              HasSubstr("old.pem has expired"));
  std::filesystem::permissions(files_.key, std::filesystem::perms::others_read, std::filesystem::perm_options::add);
  EXPECT_THAT(error_of(files_), HasSubstr("open to everybody"));
}

}  // namespace
}  // namespace panicroom::service
