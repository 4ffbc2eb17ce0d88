#include "kernels/packages/synthetic_package.h"

#include <archive.h>
#include <archive_entry.h>

#include <cstdint>
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
  ::archive_entry_set_size(entry, 0);
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

std::vector<std::byte> write_archive(const std::vector<SyntheticEntry>& entries, PackageCompression compression,
                                     int (*set_format)(archive*)) {
  std::vector<std::byte> bytes;
  archive* writer = ::archive_write_new();
  check(set_format(writer));
  if (compression == PackageCompression::kGzip) check(::archive_write_add_filter_gzip(writer));
  if (compression == PackageCompression::kXz) check(::archive_write_add_filter_xz(writer));
  if (compression == PackageCompression::kZstd) check(::archive_write_add_filter_zstd(writer));
  check(::archive_write_set_bytes_in_last_block(writer, 1));
  check(::archive_write_open(writer, &bytes, nullptr, collect, nullptr));
  for (const auto& entry : entries) add(writer, entry);
  check(::archive_write_close(writer));
  ::archive_write_free(writer);
  return bytes;
}

void append_big_endian(std::vector<std::byte>& bytes, std::uint64_t value, unsigned width) {
  constexpr unsigned kBitsPerByte = 8;
  while (width-- > 0) bytes.push_back(static_cast<std::byte>(value >> (width * kBitsPerByte)));
}

// One value of an RPM header.
struct Tag {
  std::uint32_t tag;
  std::uint32_t type;  // 4: 32 bits, 6: text.
  std::vector<std::byte> value;
};

Tag number_tag(std::uint32_t tag, std::uint64_t number) {
  Tag made{tag, 4, {}};
  append_big_endian(made.value, number, 4);
  return made;
}

Tag text_tag(std::uint32_t tag, const std::string& text) {
  const auto bytes = as_bytes(text);
  Tag made{tag, 6, {bytes.begin(), bytes.end()}};
  made.value.push_back(std::byte{0});
  return made;
}

std::vector<std::byte> header_of(const std::vector<Tag>& tags) {
  constexpr std::uint64_t kMagicAndVersion = 0x8eade80100000000;
  std::vector<std::byte> index;
  std::vector<std::byte> data;
  for (const auto& tag : tags) {
    append_big_endian(index, tag.tag, 4);
    append_big_endian(index, tag.type, 4);
    append_big_endian(index, data.size(), 4);
    append_big_endian(index, 1, 4);
    data.insert(data.end(), tag.value.begin(), tag.value.end());
  }
  std::vector<std::byte> header;
  append_big_endian(header, kMagicAndVersion, 8);
  append_big_endian(header, tags.size(), 4);
  append_big_endian(header, data.size(), 4);
  header.insert(header.end(), index.begin(), index.end());
  header.insert(header.end(), data.begin(), data.end());
  return header;
}

}  // namespace

std::vector<std::byte> make_data_tar(const std::vector<SyntheticEntry>& entries, PackageCompression compression) {
  return write_archive(entries, compression, ::archive_write_set_format_gnutar);
}

std::vector<std::byte> make_cpio(const std::vector<SyntheticEntry>& entries, PackageCompression compression) {
  return write_archive(entries, compression, ::archive_write_set_format_cpio_newc);
}

std::vector<std::byte> make_rpm_around(const std::vector<std::byte>& payload, const std::string& arch, bool sized) {
  constexpr std::size_t kLeadSize = 96;
  std::vector<std::byte> rpm;
  append_big_endian(rpm, 0xedabeedb03000000, 8);  // Magic, version 3.0, a binary package.
  rpm.resize(kLeadSize);
  const auto main = header_of({text_tag(1022, arch), text_tag(1124, "cpio")});
  std::vector<Tag> signature = {text_tag(269, "not looked at")};
  if (sized) signature.push_back(number_tag(1000, main.size() + payload.size()));
  const auto signature_header = header_of(signature);
  rpm.insert(rpm.end(), signature_header.begin(), signature_header.end());
  rpm.resize((rpm.size() + 7) / 8 * 8);
  rpm.insert(rpm.end(), main.begin(), main.end());
  rpm.insert(rpm.end(), payload.begin(), payload.end());
  return rpm;
}

std::vector<std::byte> make_rpm(const std::vector<SyntheticEntry>& entries, PackageCompression compression) {
  return make_rpm_around(make_cpio(entries, compression));
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

std::vector<std::byte> make_deb(const std::vector<SyntheticEntry>& entries, PackageCompression compression) {
  static constexpr std::string_view kVersion = "2.0\n";
  const auto version = as_bytes(kVersion);
  std::string data_name = "data.tar";
  if (compression == PackageCompression::kGzip) data_name += ".gz";
  if (compression == PackageCompression::kXz) data_name += ".xz";
  if (compression == PackageCompression::kZstd) data_name += ".zst";
  return make_ar(
      {{"debian-binary", {version.begin(), version.end()}},
       {"control.tar.xz", make_data_tar({{"./control", "Package: synthetic\n", {}, false}}, PackageCompression::kXz)},
       {data_name, make_data_tar(entries, compression)}});
}

std::string synthetic_bzimage() {
  std::string image(0x300, '\0');
  image.replace(0x202, 4, "HdrS");
  return image;
}

}  // namespace panicroom::kernels
