// A kernel as the rest of panicroom sees it: one file, unpacked, with its release and its symbols.
// Leaves out where kernels come from (kernels/packages) and named places in their code (kernels/points).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "kernels/image/bzimage.h"
#include "kernels/image/decompress.h"
#include "kernels/image/elf_image.h"
#include "kernels/image/kallsyms.h"
#include "kernels/image/symbols.h"

namespace panicroom::kernels {

// Immutable after load; movable, and views into it (symbol names, bytes) stay valid when it is moved. Thread-safe.
class KernelImage {
 public:
  // A bzImage, an ELF vmlinux or a compressed ELF vmlinux. Every error names the file; kInvalidInput if it is missing,
  // truncated or no kernel, kUnsupported if it is a kernel of another architecture or without symbols. Takes about a
  // second of CPU and, once loaded, some 60 to 120 MB.
  static Result<KernelImage> load(const std::filesystem::path& path);
  // The same for a file that is in memory already; `path` is only remembered.
  static Result<KernelImage> from_file_content(std::filesystem::path path, std::vector<std::byte> content);

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  // As uname -r has it: "6.1.0-56-cloud-amd64".
  [[nodiscard]] const std::string& release() const { return release_; }
  // "Linux version 6.1.0-56-cloud-amd64 (debian-kernel@...) ...", without its newline.
  [[nodiscard]] const std::string& banner() const { return banner_; }
  // How the file was packed; kNone for an ELF vmlinux.
  [[nodiscard]] Compression compression() const { return compression_; }
  // Nothing if the file was not a bzImage.
  [[nodiscard]] const std::optional<SetupHeader>& setup_header() const { return setup_; }
  [[nodiscard]] const ElfImage& elf() const { return elf_; }
  [[nodiscard]] const SymbolTable& symbols() const { return kallsyms_.symbols; }
  [[nodiscard]] KallsymsLayout kallsyms_layout() const { return kallsyms_.layout; }

 private:
  KernelImage(ElfImage elf, Kallsyms kallsyms) : elf_(std::move(elf)), kallsyms_(std::move(kallsyms)) {}

  std::filesystem::path path_;
  std::string release_;
  std::string banner_;
  Compression compression_ = Compression::kNone;
  std::optional<SetupHeader> setup_;
  ElfImage elf_;
  Kallsyms kallsyms_;
};

}  // namespace panicroom::kernels
