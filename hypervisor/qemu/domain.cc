#include "hypervisor/qemu/domain.h"

#include <libvirt/libvirt-qemu.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "hypervisor/qemu/deadline_call.h"
#include "hypervisor/qemu/state_directory.h"

namespace panicroom::qemu {
namespace {

using nlohmann::json;

void on_qmp_event(virConnectPtr, virDomainPtr, const char* event, long long, unsigned, const char*, void* opaque) {
  (**static_cast<std::shared_ptr<Domain::EventListener>*>(opaque))(event);
}
// JSON converts to everything, Result included, unless it is kept in a type of its own.
struct Reply {
  json value;
};

// What a QMP command returned.
Result<Reply> returned(const std::string& request, const std::string& text) {
  auto reply = json::parse(text, nullptr, false);
  if (reply.is_discarded() || !reply.is_object()) {
    return host_error("QEMU's monitor answered {} with what is not JSON: \"{}\"", request, text.substr(0, 200));
  }
  const auto result = reply.find("return");
  if (result == reply.end()) return host_error("QEMU's monitor refused {}: {}", request, text.substr(0, 400));
  return Reply{std::move(*result)};
}

void free_listener(void* opaque) { delete static_cast<std::shared_ptr<Domain::EventListener>*>(opaque); }

}  // namespace

Result<std::unique_ptr<Domain>> Domain::create(std::shared_ptr<LibvirtConnection> connection, const DomainSpec& spec,
                                               std::chrono::milliseconds timeout, EventListener listener) {
  std::unique_ptr<Domain> domain(new Domain(std::move(connection), spec.name, timeout));
  domain->listener_ = std::make_shared<EventListener>(std::move(listener));
  const auto xml = domain_xml(spec);
  auto started = call_with_deadline(
      [connection = domain->connection_, xml]() -> Result<std::shared_ptr<virDomain>> {
        auto* raw = virDomainCreateXML(connection->get(), xml.c_str(), VIR_DOMAIN_START_PAUSED);
        if (raw == nullptr) return libvirt_error("starting QEMU through libvirt");
        return std::shared_ptr<virDomain>(raw, [](virDomainPtr dead) { virDomainFree(dead); });
      },
      timeout);
  if (!started) {
    const auto killed = kill_qemu_of(spec.gdb_socket.parent_path());
    return host_error("QEMU did not start within {} s{}", timeout.count() / 1000,
                      killed ? "" : ", and could not be killed: " + killed.error().message());
  }
  domain->domain_ = TRY(std::move(*started));
  auto opaque = std::make_unique<std::shared_ptr<EventListener>>(domain->listener_);
  domain->callback_ = virConnectDomainQemuMonitorEventRegister(domain->connection_->get(), domain->domain_.get(),
                                                               nullptr, on_qmp_event, opaque.get(), free_listener, 0);
  if (domain->callback_ < 0) return libvirt_error("listening to QEMU's monitor");
  static_cast<void>(opaque.release());  // libvirt's from now on.
  TRY(domain->find_process());
  return domain;
}

Result<> Domain::find_process() {
  const auto path = connection_->root() / "run" / "qemu" / (name_ + ".pid");
  const auto text = TRY_CONTEXT("finding QEMU's process", read_text_file(path));
  pid_ = static_cast<pid_t>(std::strtol(text.c_str(), nullptr, 10));
  if (pid_ <= 1) return host_error("{} does not hold a process number: \"{}\"", path.native(), text.substr(0, 40));
  pidfd_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  if (!pidfd_) return errno_error(errno, fmt::format("finding QEMU's process {}", pid_));
  return {};
}

Result<std::string> Domain::qmp(const std::string& request, std::chrono::milliseconds timeout) {
  auto answered = call_with_deadline(
      [domain = domain_, request]() -> Result<std::string> {
        char* reply = nullptr;
        if (virDomainQemuMonitorCommand(domain.get(), request.c_str(), &reply, 0) < 0) {
          return libvirt_error(fmt::format("asking QEMU's monitor {}", request));
        }
        std::string text = reply;
        std::free(reply);
        return text;
      },
      timeout);
  if (!answered) return host_error("QEMU's monitor did not answer {} within {} ms", request, timeout.count());
  return std::move(*answered);
}

Result<std::string> Domain::hmp(const std::string& command, std::uint32_t vcpu, std::chrono::milliseconds timeout) {
  const json request = {{"execute", "human-monitor-command"},
                        {"arguments", {{"command-line", command}, {"cpu-index", vcpu}}}};
  const auto text = request.dump();
  const auto answer = TRY(qmp(text, timeout));
  const auto reply = TRY(returned(text, answer));
  if (!reply.value.is_string()) return host_error("QEMU's monitor answered `{}` with what is not a text", command);
  return reply.value.get<std::string>();
}

Result<> Domain::save_memory(Gpa at, std::uint64_t length, const std::filesystem::path& file) {
  const json request = {{"execute", "pmemsave"},
                        {"arguments", {{"val", at.value}, {"size", length}, {"filename", file.native()}}}};
  const auto text = request.dump();
  const auto answer = TRY(qmp(text, timeout_));
  TRY(returned(text, answer));
  return {};
}

Result<std::vector<pid_t>> Domain::vcpu_threads() {
  const json request = {{"execute", "query-cpus-fast"}};
  const auto answer = TRY(qmp(request.dump(), timeout_));
  const auto reply = TRY(returned(request.dump(), answer));
  std::vector<pid_t> threads(reply.value.is_array() ? reply.value.size() : 0, 0);
  for (const auto& cpu : reply.value) {
    const auto number = cpu.is_object() ? cpu.value("cpu-index", json()) : json();
    const auto thread = cpu.is_object() ? cpu.value("thread-id", json()) : json();
    if (!number.is_number_unsigned() || !thread.is_number_unsigned() || number.get<std::size_t>() >= threads.size()) {
      return host_error("QEMU's query-cpus-fast answered {}", reply.value.dump().substr(0, 400));
    }
    threads[number.get<std::size_t>()] = thread.get<pid_t>();
  }
  return threads;
}

std::string Domain::last_words() const {
  const auto log = read_text_file(connection_->root() / "log" / "qemu" / (name_ + ".log"));
  if (!log) return {};
  // QEMU's own lines begin with the time and its name (-msg timestamp=on), or are assertions and the like; libvirt's
  // begin with the time in another form or belong to the command line.
  constexpr std::size_t kLongest = 2000;
  std::string words;
  std::string_view rest = *log;
  bool in_command = false;
  while (!rest.empty()) {
    const auto end = rest.find('\n');
    const auto line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    const bool libvirts = line.size() > 28 && line[10] == ' ' && line.substr(23, 6) == "+0000:";
    if (libvirts) in_command = line.find("starting up libvirt") != std::string_view::npos;
    if (!libvirts && !in_command && !line.empty()) words.append(line).append("\n");
    if (in_command && !libvirts && !line.ends_with('\\')) in_command = false;
  }
  while (words.ends_with('\n')) words.pop_back();
  if (words.size() > kLongest) words.erase(0, words.size() - kLongest);
  return words;
}

Result<> Domain::destroy() {
  if (destroyed_) return {};
  destroyed_ = true;
  // No event of a dying QEMU is of interest.
  if (callback_ >= 0) virConnectDomainQemuMonitorEventDeregister(connection_->get(), callback_);
  // Nothing of it is kept, so there is nothing to wait for: libvirt would ask politely first, and a hanging QEMU does
  // not listen.
  Result<> result;
  constexpr std::chrono::seconds kPatience{10};
  if (pidfd_) {
    if (::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0) != 0 && errno != ESRCH) {
      result = errno_error(errno, fmt::format("killing QEMU's process {}", pid_));
    } else {
      pollfd entry{pidfd_.get(), POLLIN, 0};
      int died = 0;
      do died = ::poll(&entry, 1, std::chrono::milliseconds(kPatience).count());
      while (died < 0 && errno == EINTR);
      if (died <= 0)
        result = host_error("QEMU's process {} did not die within {} s of SIGKILL", pid_, kPatience.count());
    }
  }
  if (domain_ != nullptr) connection_->forget(std::move(domain_));
  return result;
}

Domain::~Domain() { static_cast<void>(destroy()); }

}  // namespace panicroom::qemu
