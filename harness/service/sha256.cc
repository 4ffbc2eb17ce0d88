#include "harness/service/sha256.h"

#include <openssl/evp.h>

namespace panicroom::service {

class Sha256::Context {
 public:
  Context() : context_(::EVP_MD_CTX_new()) {
    good_ = context_ != nullptr && ::EVP_DigestInit_ex(context_.get(), ::EVP_sha256(), nullptr) == 1;
  }

  void add(std::string_view bytes) {
    good_ = good_ && ::EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1;
  }

  Result<std::string> finish() {
    std::string digest(EVP_MAX_MD_SIZE, '\0');
    unsigned int size = 0;
    if (!good_ || ::EVP_DigestFinal_ex(context_.get(), reinterpret_cast<unsigned char*>(digest.data()), &size) != 1) {
      return host_error("libcrypto cannot compute SHA-256");
    }
    digest.resize(size);
    return digest;
  }

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { ::EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_;
  bool good_ = false;
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {}
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;
Sha256::~Sha256() = default;

void Sha256::add(std::string_view bytes) { context_->add(bytes); }
Result<std::string> Sha256::finish() { return context_->finish(); }

}  // namespace panicroom::service
