// SHA-256 of a stream, by libcrypto.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace panicroom::service {

// One thread at a time. Movable.
class Sha256 {
 public:
  Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  ~Sha256();

  void add(std::string_view bytes);
  // Of all that was added, 32 bytes. To be called once, as the last. kHost if libcrypto cannot do it.
  Result<std::string> finish();

 private:
  class Context;
  std::unique_ptr<Context> context_;
};

}  // namespace panicroom::service
