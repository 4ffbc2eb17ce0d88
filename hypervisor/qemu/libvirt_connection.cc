#include "hypervisor/qemu/libvirt_connection.h"

#include <grp.h>
#include <libvirt/virterror.h>
#include <pwd.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "base/file.h"

namespace panicroom::qemu {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPackages =
    "libvirt0, libvirt-daemon, libvirt-daemon-driver-qemu, qemu-system-x86 and qemu-utils";
// The account that Debian's libvirt looks up when it runs as root, whatever its configuration says.
constexpr const char* kQemuAccount = "libvirt-qemu";

// What a QEMU that is nobody's but this process's needs: our own user, no confinement that wants system services, and
// its messages in a file. The keys are explained in libvirt's own qemu.conf.
std::string qemu_conf() {
  return fmt::format(
      "stdio_handler = \"file\"\n"
      "security_driver = \"none\"\n"
      "user = \"+{}\"\n"
      "group = \"+{}\"\n"
      "dynamic_ownership = 0\n"
      "remember_owner = 0\n"
      "cgroup_controllers = []\n"
      "namespaces = []\n",
      ::getuid(), ::getgid());
}

Result<> check_account() {
  if (::geteuid() != 0) return {};
  if (::getpwnam(kQemuAccount) != nullptr && ::getgrnam(kQemuAccount) != nullptr) return {};
  return host_error(
      "libvirt, when run as root, wants the user and group \"{0}\" to exist: useradd --system --no-create-home "
      "--user-group --shell /usr/sbin/nologin {0}",
      kQemuAccount);
}

// Once per process: libvirt's event loop is global. It outlives every connection.
Result<> start_libvirt() {
  // libvirt's log goes to the standard error otherwise; read from the environment once, when it is initialised. What
  // goes wrong is told by its calls.
  ::setenv("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null", 0);
  virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
  if (virInitialize() < 0) return libvirt_error("initialising libvirt");
  if (virEventRegisterDefaultImpl() < 0) return libvirt_error("registering libvirt's event loop");
  std::thread([] {
    while (virEventRunDefaultImpl() == 0) {
    }
  }).detach();
  return {};
}

}  // namespace

Error libvirt_error(std::string_view what) {
  const auto* error = virGetLastError();
  return host_error("{}: {}", what,
                    error != nullptr && error->message != nullptr ? error->message : "libvirt says not why");
}

Result<std::shared_ptr<LibvirtConnection>> LibvirtConnection::make(const fs::path& state_directory) {
  TRY(check_account());
  TRY(reap_leftovers(state_directory));
  auto directory = TRY(StateDirectory::create(state_directory));
  const auto root = directory.path();
  TRY(make_directories(root / "etc"));
  TRY(write_file(root / "etc" / "qemu.conf", qemu_conf()));
  // Asking QEMU what it can do takes longer than starting it; libvirt keeps the answers, and all processes may share
  // them.
  const auto cache = root.parent_path() / "cache";
  TRY(make_directories(cache));
  std::error_code error;
  fs::create_directory_symlink(cache, root / "cache", error);
  if (error) return errno_error(error.value(), fmt::format("linking {}", (root / "cache").native()));

  std::shared_ptr<LibvirtConnection> connection(new LibvirtConnection(state_directory, std::move(directory)));
  static const auto kStarted = start_libvirt();
  if (!kStarted) return kStarted.error();
  connection->connection_ = virConnectOpen(fmt::format("qemu:///embed?root={}", root.native()).c_str());
  if (connection->connection_ == nullptr) {
    return libvirt_error(fmt::format("opening libvirt's embedded QEMU driver (packages {})", kPackages));
  }
  return connection;
}

Result<std::shared_ptr<LibvirtConnection>> LibvirtConnection::open(const fs::path& state_directory) {
  static std::mutex mutex;
  static std::shared_ptr<LibvirtConnection> instance;
  const std::lock_guard lock(mutex);
  if (instance == nullptr) instance = TRY(make(state_directory));
  if (instance->state_directory_ != state_directory) {
    return invalid_input("libvirt is in use below {} and cannot move to {} in the same process",
                         instance->state_directory_.native(), state_directory.native());
  }
  return instance;
}  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks): the analyzer does not see TRY run destructors.

void LibvirtConnection::forget(std::shared_ptr<virDomain> domain) {
  {
    const std::lock_guard lock(pending_->mutex);
    ++pending_->count;
  }
  std::thread([domain = std::move(domain), pending = pending_]() mutable {
    // An error means that libvirt has noticed the death by itself.
    virDomainDestroy(domain.get());
    domain.reset();
    const std::lock_guard lock(pending->mutex);
    --pending->count;
    pending->changed.notify_all();
  }).detach();
}

LibvirtConnection::~LibvirtConnection() {
  {
    std::unique_lock lock(pending_->mutex);
    pending_->changed.wait_for(lock, std::chrono::seconds(10), [&] { return pending_->count == 0; });
  }
  if (connection_ != nullptr) virConnectClose(connection_);
}

}  // namespace panicroom::qemu
