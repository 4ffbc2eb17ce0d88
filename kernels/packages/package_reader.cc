#include "kernels/packages/package_reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>

#include "base/file.h"
#include "kernels/packages/rpm_header.h"

namespace panicroom::kernels {
namespace {

constexpr std::size_t kChunk = std::size_t{1} << 16;
constexpr std::size_t kMaxPath = 1024;

struct ArchiveFree {
  void operator()(archive* reader) const { ::archive_read_free(reader); }
};
using ArchiveReader = std::unique_ptr<archive, ArchiveFree>;

std::string_view reason(archive* reader) {
  const char* text = ::archive_error_string(reader);
  return text == nullptr ? "unknown error" : text;
}

// Feeds the inner archive (data.tar.*) with the outer's (ar's) current member.
struct MemberSource {
  archive* outer = nullptr;
  std::array<char, kChunk> buffer = {};
  static la_ssize_t read(archive* inner, void* self, const void** data) {
    auto* source = static_cast<MemberSource*>(self);
    const auto got = ::archive_read_data(source->outer, source->buffer.data(), source->buffer.size());
    if (got < 0) {
      ::archive_set_error(inner, EIO, "%s", std::string(reason(source->outer)).c_str());
      return -1;
    }
    *data = source->buffer.data();
    return got;
  }
};

bool is_deb(Bytes begin) {
  constexpr std::string_view kMagic = "!<arch>\n";
  return as_text(begin.first(std::min(begin.size(), kMagic.size()))) == kMagic;
}

// The entry's path made relative, or nothing if it would lead out of the folder it is unpacked to.
std::optional<std::string> checked_path(std::string_view path) {
  if (path.starts_with('/') || path.size() > kMaxPath) return std::nullopt;
  std::string clean;
  while (!path.empty()) {
    const auto slash = std::min(path.find('/'), path.size());
    const auto part = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (part.empty() || part == ".") continue;
    if (part == ".." || part.find('\0') != std::string_view::npos) return std::nullopt;
    if (!clean.empty()) clean += '/';
    clean += part;
  }
  return clean;
}

// The compressions that data.tar and an RPM's payload come in.
void support_compressions(archive* reader) {
  ::archive_read_support_filter_xz(reader);
  ::archive_read_support_filter_zstd(reader);
  ::archive_read_support_filter_gzip(reader);
  ::archive_read_support_filter_bzip2(reader);
  ::archive_read_support_filter_lzma(reader);
}

// Reads an archive's entries for the visitor, within the limits. `what` names the archive in errors.
class EntryReader {
 public:
  EntryReader(std::string_view what, PackageVisitor& visitor, const PackageLimits& limits)
      : what_(what), visitor_(visitor), limits_(limits) {}

  Result<> read(archive* reader) {
    while (true) {
      archive_entry* entry = nullptr;
      const int status = ::archive_read_next_header(reader, &entry);
      if (status == ARCHIVE_EOF) return {};
      if (status < ARCHIVE_WARN) return invalid_input("{} is broken: {}", what_, reason(reader));
      TRY(read_entry(reader, entry));
    }
  }

 private:
  Result<> read_entry(archive* reader, archive_entry* entry) {
    if (++entries_ > limits_.max_entries)
      return invalid_input("{} has more than {} entries", what_, limits_.max_entries);
    const char* raw_path = ::archive_entry_pathname(entry);
    if (raw_path == nullptr) return invalid_input("{} has an entry without a readable name", what_);
    const auto path = checked_path(raw_path);
    if (!path) return invalid_input("{} has the path '{}', which leads out of the package", what_, raw_path);

    PackageEntry found{*path, PackageEntry::Type::kOther, 0};
    const auto type = ::archive_entry_filetype(entry);
    if (::archive_entry_hardlink(entry) == nullptr) {
      if (type == AE_IFREG) found.type = PackageEntry::Type::kFile;
      if (type == AE_IFDIR) found.type = PackageEntry::Type::kDirectory;
    }
    const auto size = ::archive_entry_size(entry);
    if (size < 0) return invalid_input("{}: '{}' has a negative size", what_, *path);
    // Counted for every entry: also what is skipped must be decompressed to get past it.
    const auto counted = static_cast<std::uint64_t>(size);
    if (counted > limits_.max_bytes - bytes_)
      return invalid_input("{} holds more than {} bytes", what_, limits_.max_bytes);
    bytes_ += counted;
    if (found.path.empty()) return {};  // "./"
    if (found.type == PackageEntry::Type::kFile) found.size = counted;
    const bool wanted = TRY(visitor_.entry(found));
    if (!wanted || found.type != PackageEntry::Type::kFile) return {};
    return read_content(reader, found);
  }

  Result<> read_content(archive* reader, const PackageEntry& entry) {
    std::array<std::byte, kChunk> chunk;
    std::uint64_t left = entry.size;
    while (true) {
      const auto got = ::archive_read_data(reader, chunk.data(), chunk.size());
      if (got < 0) return invalid_input("{}: '{}' cannot be read: {}", what_, entry.path, reason(reader));
      if (got == 0) break;
      const auto length = static_cast<std::size_t>(got);
      if (length > left) return invalid_input("{}: '{}' is longer than its header says", what_, entry.path);
      left -= length;
      TRY(visitor_.content(Bytes(chunk).first(length)));
    }
    if (left != 0) return invalid_input("{}: '{}' is shorter than its header says", what_, entry.path);
    return {};
  }

  std::string_view what_;
  PackageVisitor& visitor_;
  PackageLimits limits_;
  std::uint64_t entries_ = 0;
  std::uint64_t bytes_ = 0;
};

class DebReader {
 public:
  DebReader(archive* outer, PackageVisitor& visitor, const PackageLimits& limits)
      : outer_(outer), entries_("data.tar", visitor, limits) {}

  Result<> read() {
    bool versioned = false;
    bool has_data = false;
    while (true) {
      archive_entry* member = nullptr;
      const int status = ::archive_read_next_header(outer_, &member);
      if (status == ARCHIVE_EOF) break;
      if (status < ARCHIVE_WARN) return invalid_input("not a whole Debian package: {}", reason(outer_));
      if (++members_ > kMaxMembers) return invalid_input("not a Debian package: it has too many members");
      const char* raw_name = ::archive_entry_pathname(member);
      const std::string_view name = raw_name == nullptr ? "" : raw_name;
      if (!versioned) {
        TRY(check_version(name));
        versioned = true;
      } else if (name == "data.tar" || name.starts_with("data.tar.")) {
        if (has_data) return invalid_input("not a Debian package: it has two data.tar members");
        TRY(read_data());
        has_data = true;
      }
      TRY(skip_rest());
    }
    if (!has_data) return invalid_input("not a whole Debian package: it has no data.tar member");
    return {};
  }

 private:
  static constexpr int kMaxMembers = 16;

  Result<> check_version(std::string_view name) {
    std::array<char, 4> text = {};
    const auto got = ::archive_read_data(outer_, text.data(), text.size());
    if (got < 0) return invalid_input("not a whole Debian package: {}", reason(outer_));
    if (name != "debian-binary" || !std::string_view(text.data(), static_cast<std::size_t>(got)).starts_with("2.")) {
      return invalid_input("not a Debian package of format 2: its first member is not debian-binary 2.x");
    }
    return {};
  }

  // Reads the member to its end, which is where libarchive notices that a file is truncated.
  Result<> skip_rest() {
    std::array<char, kChunk> chunk;
    while (true) {
      const auto got = ::archive_read_data(outer_, chunk.data(), chunk.size());
      if (got == 0) return {};
      if (got < 0) return invalid_input("not a whole Debian package: {}", reason(outer_));
    }
  }

  Result<> read_data() {
    const ArchiveReader inner(::archive_read_new());
    MemberSource source;
    source.outer = outer_;
    if (inner == nullptr) return host_error("libarchive: out of memory");
    support_compressions(inner.get());
    ::archive_read_support_format_tar(inner.get());
    if (::archive_read_open(inner.get(), &source, nullptr, MemberSource::read, nullptr) < ARCHIVE_WARN) {
      return invalid_input("data.tar cannot be read: {}", reason(inner.get()));
    }
    return entries_.read(inner.get());
  }

  archive* outer_;
  EntryReader entries_;
  int members_ = 0;
};

// Both kinds of package from the same two kinds of source: `open` gives the reader its bytes.
template <typename Open>
Result<> read_from(Bytes begin, std::uint64_t file_size, const Open& open, PackageVisitor& visitor,
                   const PackageLimits& limits) {
  const ArchiveReader reader(::archive_read_new());
  if (reader == nullptr) return host_error("libarchive: out of memory");
  if (is_deb(begin)) {
    ::archive_read_support_format_ar(reader.get());
    if (open(reader.get()) < ARCHIVE_WARN) return invalid_input("not a Debian package: {}", reason(reader.get()));
    return DebReader(reader.get(), visitor, limits).read();
  }
  if (!is_rpm(begin)) return invalid_input("neither a Debian package nor an RPM");
  TRY(check_rpm_headers(begin, file_size));
  ::archive_read_support_filter_rpm(reader.get());
  support_compressions(reader.get());
  ::archive_read_support_format_cpio(reader.get());
  if (open(reader.get()) < ARCHIVE_WARN) return invalid_input("the RPM's payload: {}", reason(reader.get()));
  return EntryReader("the RPM's payload", visitor, limits).read(reader.get());
}

// Writes the wanted files under a folder in which nothing else writes and no links are ever made.
class Unpacker : public PackageVisitor {
 public:
  Unpacker(std::filesystem::path folder, const std::vector<std::string>& prefixes)
      : folder_(std::move(folder)), prefixes_(prefixes) {}

  Result<bool> entry(const PackageEntry& entry) override {
    file_.reset();
    const auto wanted = [&](const std::string& prefix) { return entry.path.starts_with(prefix); };
    if (entry.type != PackageEntry::Type::kFile || std::none_of(prefixes_.begin(), prefixes_.end(), wanted))
      return false;
    path_ = folder_ / entry.path;
    TRY(make_directories(path_.parent_path()));
    file_ = UniqueFd(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
    if (file_) return true;
    if (errno == EEXIST || errno == EISDIR) return invalid_input("the package has '{}' twice", entry.path);
    return errno_error(errno, fmt::format("creating {}", path_.native()));
  }

  Result<> content(Bytes chunk) override {
    while (!chunk.empty()) {
      const auto written = ::write(file_.get(), chunk.data(), chunk.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return errno_error(errno, fmt::format("writing {}", path_.native()));
      chunk = chunk.subspan(static_cast<std::size_t>(written));
    }
    return {};
  }

 private:
  std::filesystem::path folder_;
  const std::vector<std::string>& prefixes_;
  std::filesystem::path path_;
  UniqueFd file_;
};

// The first bytes of a file, `wanted` of them or all that there are.
Result<std::vector<std::byte>> read_begin(int fd, std::uint64_t wanted) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(wanted));
  std::size_t length = 0;
  while (length < bytes.size()) {
    const auto got = ::pread(fd, bytes.data() + length, bytes.size() - length, static_cast<off_t>(length));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(errno, "reading");
    if (got == 0) break;
    length += static_cast<std::size_t>(got);
  }
  bytes.resize(length);
  return bytes;
}

Result<> read_file_package(const std::filesystem::path& package, PackageVisitor& visitor, const PackageLimits& limits) {
  const UniqueFd file(::open(package.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status = {};
  if (!file || ::fstat(file.get(), &status) != 0) {
    return invalid_input("cannot be opened: {}", std::system_category().message(errno));
  }
  if (!S_ISREG(status.st_mode)) return invalid_input("not a file");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  constexpr std::uint64_t kMagics = 8;
  auto begin = TRY(read_begin(file.get(), kMagics));
  if (is_rpm(begin)) begin = TRY(read_begin(file.get(), std::min(size, kMaxRpmHeader)));
  const auto open = [&](archive* reader) { return ::archive_read_open_fd(reader, file.get(), kChunk); };
  return read_from(begin, size, open, visitor, limits);
}

}  // namespace

bool is_package(Bytes begin) { return is_deb(begin) || is_rpm(begin); }

Result<> read_package(const std::filesystem::path& package, PackageVisitor& visitor, const PackageLimits& limits) {
  auto result = read_file_package(package, visitor, limits);
  if (!result) return std::move(result.error()).with_context(package.native());
  return {};
}

Result<> read_package(Bytes package, PackageVisitor& visitor, const PackageLimits& limits) {
  const auto open = [&](archive* reader) { return ::archive_read_open_memory(reader, package.data(), package.size()); };
  return read_from(package.first(std::min<std::size_t>(package.size(), kMaxRpmHeader)), package.size(), open, visitor,
                   limits);
}

Result<> unpack_package(const std::filesystem::path& package, const std::filesystem::path& folder,
                        const std::vector<std::string>& prefixes, const PackageLimits& limits) {
  Unpacker unpacker(folder, prefixes);
  return read_package(package, unpacker, limits);
}

}  // namespace panicroom::kernels
