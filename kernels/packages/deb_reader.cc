#include "kernels/packages/deb_reader.h"

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

class DebReader {
 public:
  DebReader(archive* outer, DebVisitor& visitor, const DebLimits& limits)
      : outer_(outer), visitor_(visitor), limits_(limits) {}

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
    ::archive_read_support_filter_xz(inner.get());
    ::archive_read_support_filter_zstd(inner.get());
    ::archive_read_support_filter_gzip(inner.get());
    ::archive_read_support_filter_bzip2(inner.get());
    ::archive_read_support_filter_lzma(inner.get());
    ::archive_read_support_format_tar(inner.get());
    if (::archive_read_open(inner.get(), &source, nullptr, MemberSource::read, nullptr) < ARCHIVE_WARN) {
      return invalid_input("data.tar cannot be read: {}", reason(inner.get()));
    }
    while (true) {
      archive_entry* entry = nullptr;
      const int status = ::archive_read_next_header(inner.get(), &entry);
      if (status == ARCHIVE_EOF) return {};
      if (status < ARCHIVE_WARN) return invalid_input("data.tar is broken: {}", reason(inner.get()));
      TRY(read_entry(inner.get(), entry));
    }
  }

  Result<> read_entry(archive* inner, archive_entry* entry) {
    if (++entries_ > limits_.max_entries)
      return invalid_input("data.tar has more than {} entries", limits_.max_entries);
    const char* raw_path = ::archive_entry_pathname(entry);
    if (raw_path == nullptr) return invalid_input("data.tar has an entry without a readable name");
    const auto path = checked_path(raw_path);
    if (!path) return invalid_input("data.tar has the path '{}', which leads out of the package", raw_path);

    DebEntry found{*path, DebEntry::Type::kOther, 0};
    const auto type = ::archive_entry_filetype(entry);
    if (::archive_entry_hardlink(entry) == nullptr) {
      if (type == AE_IFREG) found.type = DebEntry::Type::kFile;
      if (type == AE_IFDIR) found.type = DebEntry::Type::kDirectory;
    }
    const auto size = ::archive_entry_size(entry);
    if (size < 0) return invalid_input("data.tar: '{}' has a negative size", *path);
    // Counted for every entry: also what is skipped must be decompressed to get past it.
    const auto counted = static_cast<std::uint64_t>(size);
    if (counted > limits_.max_bytes - bytes_) {
      return invalid_input("data.tar holds more than {} bytes", limits_.max_bytes);
    }
    bytes_ += counted;
    if (found.path.empty()) return {};  // "./"
    if (found.type == DebEntry::Type::kFile) found.size = counted;
    const bool wanted = TRY(visitor_.entry(found));
    if (!wanted || found.type != DebEntry::Type::kFile) return {};
    return read_content(inner, found);
  }

  Result<> read_content(archive* inner, const DebEntry& entry) {
    std::array<std::byte, kChunk> chunk;
    std::uint64_t left = entry.size;
    while (true) {
      const auto got = ::archive_read_data(inner, chunk.data(), chunk.size());
      if (got < 0) return invalid_input("data.tar: '{}' cannot be read: {}", entry.path, reason(inner));
      if (got == 0) break;
      const auto length = static_cast<std::size_t>(got);
      if (length > left) return invalid_input("data.tar: '{}' is longer than its header says", entry.path);
      left -= length;
      TRY(visitor_.content(Bytes(chunk).first(length)));
    }
    if (left != 0) return invalid_input("data.tar: '{}' is shorter than its header says", entry.path);
    return {};
  }

  archive* outer_;
  DebVisitor& visitor_;
  DebLimits limits_;
  int members_ = 0;
  std::uint64_t entries_ = 0;
  std::uint64_t bytes_ = 0;
};

Result<ArchiveReader> ar_reader() {
  ArchiveReader outer(::archive_read_new());
  if (outer == nullptr) return host_error("libarchive: out of memory");
  ::archive_read_support_format_ar(outer.get());
  return outer;
}

// Writes the wanted files under a folder in which nothing else writes and no links are ever made.
class Unpacker : public DebVisitor {
 public:
  Unpacker(std::filesystem::path folder, const std::vector<std::string>& prefixes)
      : folder_(std::move(folder)), prefixes_(prefixes) {}

  Result<bool> entry(const DebEntry& entry) override {
    file_.reset();
    const auto wanted = [&](const std::string& prefix) { return entry.path.starts_with(prefix); };
    if (entry.type != DebEntry::Type::kFile || std::none_of(prefixes_.begin(), prefixes_.end(), wanted)) return false;
    path_ = folder_ / entry.path;
    TRY(make_directories(path_.parent_path()));
    file_ = UniqueFd(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
    if (file_) return true;
    if (errno == EEXIST || errno == EISDIR) return invalid_input("data.tar has '{}' twice", entry.path);
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

Result<> named(Result<> result, const std::filesystem::path& deb) {
  if (!result) return std::move(result.error()).with_context(deb.native());
  return {};
}

}  // namespace

Result<> read_deb(const std::filesystem::path& deb, DebVisitor& visitor, const DebLimits& limits) {
  const auto outer = TRY(ar_reader());
  if (::archive_read_open_filename(outer.get(), deb.c_str(), kChunk) < ARCHIVE_WARN) {
    return invalid_input("{}: not a Debian package: {}", deb.native(), reason(outer.get()));
  }
  return named(DebReader(outer.get(), visitor, limits).read(), deb);
}

Result<> read_deb(Bytes deb, DebVisitor& visitor, const DebLimits& limits) {
  const auto outer = TRY(ar_reader());
  if (::archive_read_open_memory(outer.get(), deb.data(), deb.size()) < ARCHIVE_WARN) {
    return invalid_input("not a Debian package: {}", reason(outer.get()));
  }
  return DebReader(outer.get(), visitor, limits).read();
}

Result<> unpack_deb(const std::filesystem::path& deb, const std::filesystem::path& folder,
                    const std::vector<std::string>& prefixes, const DebLimits& limits) {
  Unpacker unpacker(folder, prefixes);
  return read_deb(deb, unpacker, limits);
}

}  // namespace panicroom::kernels
