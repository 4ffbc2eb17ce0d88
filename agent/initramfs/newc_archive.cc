#include "agent/initramfs/newc_archive.h"

#include <archive.h>
#include <archive_entry.h>

#include <cerrno>
#include <new>
#include <string>
#include <utility>

namespace panicroom::agent {
namespace {

// libarchive's C code calls it: no exception may leave it.
la_ssize_t append(archive* archive, void* out, const void* data, std::size_t length) noexcept {
  try {
    const auto* bytes = static_cast<const std::byte*>(data);
    auto& to = *static_cast<std::vector<std::byte>*>(out);
    to.insert(to.end(), bytes, bytes + length);
    return static_cast<la_ssize_t>(length);
  } catch (const std::bad_alloc&) {
    archive_set_error(archive, ENOMEM, "out of memory");
    return -1;
  }
}

}  // namespace

void NewcArchive::FreeArchive::operator()(archive* a) const { archive_write_free(a); }
void NewcArchive::FreeEntry::operator()(archive_entry* e) const { archive_entry_free(e); }

Result<> NewcArchive::open() {
  archive_.reset(archive_write_new());
  if (!archive_) return host_error("building an initramfs: out of memory");
  TRY(check(archive_write_set_format_cpio_newc(archive_.get())));
  TRY(check(archive_write_set_bytes_per_block(archive_.get(), 0)));
  return check(archive_write_open2(archive_.get(), &out_, nullptr, &append, nullptr, nullptr));
}

Result<> NewcArchive::add_directory(std::string_view path) {
  auto entry = TRY(new_entry(path, AE_IFDIR, 0755));
  return check(archive_write_header(archive_.get(), entry.get()));
}

Result<> NewcArchive::add_file(std::string_view path, mode_t permissions, Bytes content) {
  // newc has 32 bits for the size.
  if (content.size() > 0xffffffffULL) return invalid_input("{} is too large for an initramfs", path);
  auto entry = TRY(new_entry(path, AE_IFREG, permissions));
  archive_entry_set_size(entry.get(), static_cast<la_int64_t>(content.size()));
  TRY(check(archive_write_header(archive_.get(), entry.get())));
  if (content.empty()) return {};
  const la_ssize_t written = archive_write_data(archive_.get(), content.data(), content.size());
  if (written < 0 || static_cast<std::size_t>(written) != content.size()) return last_error();
  return {};
}

Result<> NewcArchive::add_character_device(std::string_view path, unsigned int major, unsigned int minor) {
  auto entry = TRY(new_entry(path, AE_IFCHR, 0600));
  archive_entry_set_rdevmajor(entry.get(), major);
  archive_entry_set_rdevminor(entry.get(), minor);
  return check(archive_write_header(archive_.get(), entry.get()));
}

Result<std::vector<std::byte>> NewcArchive::finish() {
  TRY(check(archive_write_close(archive_.get())));
  return std::move(out_);
}

Result<NewcArchive::Entry> NewcArchive::new_entry(std::string_view path, unsigned int type, mode_t permissions) {
  Entry entry(archive_entry_new());
  if (!entry) return host_error("building an initramfs: out of memory");
  // Relative, as cpio archives for the kernel are.
  archive_entry_set_pathname(entry.get(), std::string(path.substr(path.starts_with('/') ? 1 : 0)).c_str());
  archive_entry_set_filetype(entry.get(), type);
  archive_entry_set_perm(entry.get(), permissions);
  archive_entry_set_size(entry.get(), 0);
  archive_entry_set_mtime(entry.get(), 0, 0);
  archive_entry_set_uid(entry.get(), 0);
  archive_entry_set_gid(entry.get(), 0);
  archive_entry_set_nlink(entry.get(), 1);
  archive_entry_set_ino64(entry.get(), ++inode_);
  return entry;
}

Error NewcArchive::last_error() const {
  const char* text = archive_error_string(archive_.get());
  return host_error("building an initramfs: {}", text == nullptr ? "libarchive failed" : text);
}

Result<> NewcArchive::check(int status) const {
  if (status != ARCHIVE_OK) return last_error();
  return {};
}

}  // namespace panicroom::agent
