// One of the guest's byte streams, as the socket that QEMU writes it to.
#pragma once

#include <filesystem>
#include <string>

#include "base/file.h"
#include "base/result.h"

namespace panicroom::qemu {

class OutputStream {
 public:
  // Connects to the socket that QEMU listens on.
  static Result<OutputStream> connect(const std::filesystem::path& socket_path);

  // For poll(2): readable when there are bytes; nothing to wait for once the stream has ended (-1).
  [[nodiscard]] int fd() const { return socket_.get(); }
  // What has arrived and was not taken yet; never blocks. At most a mebibyte at once.
  std::string take();

 private:
  explicit OutputStream(UniqueFd socket) : socket_(std::move(socket)) {}

  UniqueFd socket_;
};

}  // namespace panicroom::qemu
