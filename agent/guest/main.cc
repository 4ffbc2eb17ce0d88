// panicroom-agent: PID 1 of the kernel under test and of the capture kernel. It never exits and prints nothing: the end
// of init would be a panic that nobody asked for, and its words would lie between the kernel's on the console.
#include <signal.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <exception>

#include "agent/guest/capture_kernel.h"
#include "agent/guest/channel.h"
#include "agent/guest/first_kernel.h"
#include "agent/guest/pseudo_files.h"

namespace panicroom::agent {
namespace {

void send_hello(Channel& channel, v1::Mode mode) {
  utsname names{};
  uname(&names);
  v1::Message message;
  auto& hello = *message.mutable_hello();
  hello.set_mode(mode);
  hello.set_kernel_release(names.release);
  hello.set_online_cpus(static_cast<std::uint32_t>(sysconf(_SC_NPROCESSORS_ONLN)));
  hello.set_possible_cpus(count_cpu_list(read_small_file("/sys/devices/system/cpu/possible").value_or("")));
  channel.send(std::move(message));
}

Outcome<> run(Channel& channel) {
  if (const auto mounted = mount_pseudo_file_systems(); !mounted) return mounted;
  const bool capture = is_capture_kernel();
  send_hello(channel, capture ? v1::MODE_CAPTURE : v1::MODE_FIRST);
  if (capture) return run_capture_kernel(channel);
  return tl::unexpected(run_first_kernel(channel));
}

void report(Channel& channel, const Failure& failure) {
  v1::Message message;
  message.mutable_failed()->set_stage(failure.stage);
  message.mutable_failed()->set_error_number(failure.error_number);
  message.mutable_failed()->set_text(failure.text);
  channel.send(std::move(message));
}

[[noreturn]] void be_init() {
  Channel channel;
  channel.open();
  try {
    if (const auto outcome = run(channel); !outcome) report(channel, outcome.error());
  } catch (const std::exception& exception) {
    report(channel, {v1::Failed::STAGE_INTERNAL, 0, exception.what()});
  }
  kill(-1, SIGKILL);  // Workloads that run although others could not be started.
  while (true) pause();
}

}  // namespace
}  // namespace panicroom::agent

int main() {
  // Started by hand outside of a guest, it must not touch ports, mounts or processes.
  if (getpid() != 1) return 1;
  panicroom::agent::be_init();
}
