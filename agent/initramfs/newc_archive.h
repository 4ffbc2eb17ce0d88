// A cpio archive in the newc format, as the kernel unpacks an initramfs, built in memory and the same bytes for the
// same calls: no times, no owners, inode numbers in order. Leaves out what an initramfs is made of (initramfs.h).
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

struct archive;
struct archive_entry;

namespace panicroom::agent {

// Paths are as in the running system, "/dev/console". A directory comes before what is in it. Every error is kHost, but
// for a file that is too large. Not thread-safe.
class NewcArchive {
 public:
  NewcArchive() = default;
  // libarchive knows where this object is.
  NewcArchive(const NewcArchive&) = delete;
  NewcArchive& operator=(const NewcArchive&) = delete;

  // First of all.
  Result<> open();
  Result<> add_directory(std::string_view path);
  // kInvalidInput if the content is larger than the 4 GiB that newc can tell.
  Result<> add_file(std::string_view path, mode_t permissions, Bytes content);
  Result<> add_character_device(std::string_view path, unsigned int major, unsigned int minor);
  // The archive's bytes; nothing can be added any more.
  Result<std::vector<std::byte>> finish();

 private:
  struct FreeArchive {
    void operator()(archive* a) const;
  };
  struct FreeEntry {
    void operator()(archive_entry* e) const;
  };
  using Entry = std::unique_ptr<archive_entry, FreeEntry>;

  Result<Entry> new_entry(std::string_view path, unsigned int type, mode_t permissions);
  [[nodiscard]] Error last_error() const;
  [[nodiscard]] Result<> check(int status) const;

  std::unique_ptr<archive, FreeArchive> archive_;
  std::vector<std::byte> out_;
  std::int64_t inode_ = 0;
};

}  // namespace panicroom::agent
