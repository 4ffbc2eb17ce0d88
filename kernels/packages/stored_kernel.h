// A kernel that is there, as files on this host.
#pragma once

#include <filesystem>
#include <string>

namespace panicroom::kernels {

struct StoredKernel {
  std::filesystem::path image;    // A readable file.
  std::filesystem::path modules;  // What is /lib/modules/RELEASE on an installed system; empty if there is none.
  std::string release;            // uname -r; empty where no file's name tells: then only the image's content does.
  std::string package_version;    // Of Debian's package; empty for what did not come from its archive.
  std::filesystem::path config;   // The kernel's configuration (.config); empty if there is none.
};

}  // namespace panicroom::kernels
