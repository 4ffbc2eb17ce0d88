#include "kernels/packages/synthetic_deb.h"

#include <archive.h>
#include <archive_entry.h>

#include <cstdlib>
#include <span>
#include <utility>

#include "base/bytes.h"

namespace panicroom::kernels {
namespace {

// Collects what libarchive writes.
la_ssize_t collect(archive* /*writer*/, void* self, const void* data, std::size_t length) {
  auto* bytes = static_cast<std::vector<std::byte>*>(self);
  const auto* begin = static_cast<const std::byte*>(data);
  bytes->insert(bytes->end(), begin, begin + length);
  return static_cast<la_ssize_t>(length);
}

void check(int status) {
  if (status < ARCHIVE_WARN) std::abort();  // A test that cannot make its input has nothing to say.
}

void add(archive* writer, const SyntheticEntry& what) {
  archive_entry* entry = ::archive_entry_new();
  ::archive_entry_set_pathname(entry, what.path.c_str());
  ::archive_entry_set_perm(entry, 0755);
  if (!what.symlink_to.empty()) {
    ::archive_entry_set_filetype(entry, AE_IFLNK);
    ::archive_entry_set_symlink(entry, what.symlink_to.c_str());
  } else if (what.directory) {
    ::archive_entry_set_filetype(entry, AE_IFDIR);
  } else {
    ::archive_entry_set_filetype(entry, AE_IFREG);
    ::archive_entry_set_size(entry, static_cast<la_int64_t>(what.content.size()));
  }
  check(::archive_write_header(writer, entry));
  if (!what.content.empty() && ::archive_write_data(writer, what.content.data(), what.content.size()) < 0) std::abort();
  ::archive_entry_free(entry);
}

}  // namespace

std::vector<std::byte> make_data_tar(const std::vector<SyntheticEntry>& entries, DebCompression compression) {
  std::vector<std::byte> bytes;
  archive* writer = ::archive_write_new();
  check(::archive_write_set_format_gnutar(writer));
  if (compression == DebCompression::kGzip) check(::archive_write_add_filter_gzip(writer));
  if (compression == DebCompression::kXz) check(::archive_write_add_filter_xz(writer));
  if (compression == DebCompression::kZstd) check(::archive_write_add_filter_zstd(writer));
  check(::archive_write_set_bytes_in_last_block(writer, 1));
  check(::archive_write_open(writer, &bytes, nullptr, collect, nullptr));
  for (const auto& entry : entries) add(writer, entry);
  check(::archive_write_close(writer));
  ::archive_write_free(writer);
  return bytes;
}

std::vector<std::byte> make_ar(const std::vector<std::pair<std::string, std::vector<std::byte>>>& members) {
  std::vector<std::byte> bytes;
  archive* writer = ::archive_write_new();
  check(::archive_write_set_format_ar_bsd(writer));
  check(::archive_write_set_bytes_in_last_block(writer, 1));
  check(::archive_write_open(writer, &bytes, nullptr, collect, nullptr));
  for (const auto& [name, content] : members) add(writer, {name, std::string(as_text(content)), {}, false});
  check(::archive_write_close(writer));
  ::archive_write_free(writer);
  return bytes;
}

std::vector<std::byte> make_deb(const std::vector<SyntheticEntry>& entries, DebCompression compression) {
  static constexpr std::string_view kVersion = "2.0\n";
  const auto version = as_bytes(kVersion);
  std::string data_name = "data.tar";
  if (compression == DebCompression::kGzip) data_name += ".gz";
  if (compression == DebCompression::kXz) data_name += ".xz";
  if (compression == DebCompression::kZstd) data_name += ".zst";
  return make_ar(
      {{"debian-binary", {version.begin(), version.end()}},
       {"control.tar.xz", make_data_tar({{"./control", "Package: synthetic\n", {}, false}}, DebCompression::kXz)},
       {data_name, make_data_tar(entries, compression)}});
}

std::string synthetic_bzimage() {
  std::string image(0x300, '\0');
  image.replace(0x202, 4, "HdrS");
  return image;
}

}  // namespace panicroom::kernels
