// Kernels whose functions are the input's bytes: whatever is found lies in the kernel's text, one place where one is
// meant, and what is not found says why.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/testing/require.h"
#include "kernels/points/kernel_builder.h"
#include "kernels/points/kernel_code.h"
#include "kernels/points/resolver.h"

namespace {

using namespace panicroom;           // NOLINT(google-build-using-namespace): this file is the fuzz target alone.
using namespace panicroom::kernels;  // NOLINT(google-build-using-namespace)

void require_in_text(const KernelImage& kernel, LinkAddress at) {
  const auto text = lasting_text(kernel);
  require(std::ranges::any_of(text, [&](const LinkRange& range) { return range.contains(at); }));
}

// Every function and variable that the table of points goes by.
std::vector<std::byte> empty_kernel() {
  using testing::KernelBuilder;
  KernelBuilder builder;
  LinkAddress variable = KernelBuilder::kData;
  for (const char* name : {"panic_cpu", "__kexec_lock", "kexec_mutex"}) {
    builder.symbol(variable, 'D', name);
    variable = variable + 4;
  }
  for (const char* name : {"panic",
                           "vpanic",
                           "nmi_panic",
                           "crash_kexec",
                           "__crash_kexec",
                           "machine_kexec",
                           "mutex_trylock",
                           "relocate_kernel",
                           "crash_nmi_callback",
                           "exc_nmi",
                           "panic_smp_self_stop",
                           "nmi_panic_self_stop",
                           "native_machine_emergency_restart",
                           "native_apic_mem_read",
                           "native_apic_mem_write",
                           "vpanic.cold",
                           "panic_try_start",
                           "native_apic_mem_read",
                           "__x86_indirect_thunk_rax",
                           "sysvec_reboot",
                           "other"}) {
    builder.function(name, "\x90");
  }
  return builder.file();
}

// The input is the code of the functions, one slot after the other.
KernelImage kernel_of(std::string_view input) {
  static const auto kFile = empty_kernel();
  static const auto kText = as_text(kFile).find("\x90" + std::string(testing::KernelBuilder::kSlot - 1, '\xcc'));
  auto file = kFile;
  const auto code = as_bytes(input.substr(0, testing::KernelBuilder::kMostSlots * testing::KernelBuilder::kSlot));
  std::ranges::copy(code, file.begin() + static_cast<std::ptrdiff_t>(kText));
  return KernelImage::from_file_content("synthetic", std::move(file)).value();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const KernelImage kernel = kernel_of({reinterpret_cast<const char*>(data), size});
  for (const auto& entry : kNamedPoints) {
    const auto point = resolve_named_point(kernel, entry);
    if (!point) {
      require(point.error().kind() == ErrorKind::kUnsupported && !point.error().message().empty());
      continue;
    }
    require(!point->at.empty() && (entry.several || point->at.size() == 1) && !point->how.empty());
    for (const LinkAddress at : point->at) require_in_text(kernel, at);
  }
  if (const auto sites = icr_stores(kernel)) {
    require(!sites->empty() && local_apic(kernel).has_value());
    for (const auto& site : *sites) require_in_text(kernel, site.at);
  }
  if (const auto loop = pause_loop(kernel)) require_in_text(kernel, *loop);
  return 0;
}
