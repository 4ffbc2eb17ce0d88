// panicroom's command line: options in, a command out. What the commands do stands in *_command.cc.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>

#include "harness/cli/commands.h"

namespace panicroom::cli {
namespace {

void add_server(CLI::App& command, ServerChoice& server, const std::string& what) {
  command.add_option("--server", server.address, what)->type_name("ADDR");
  command.add_option("--tls-certificate", server.certificate, "For a server with TLS: this client's certificate, PEM")
      ->type_name("FILE")
      ->envname("PANICROOM_TLS_CERTIFICATE");
  command.add_option("--tls-key", server.key, "Its private key, PEM")->type_name("FILE")->envname("PANICROOM_TLS_KEY");
  command.add_option("--tls-ca", server.ca, "The roots that the server's certificate has to come from, PEM")
      ->type_name("FILE")
      ->envname("PANICROOM_TLS_CA");
}

void add_run(CLI::App& app, RunOptions& options, int& status) {
  auto* command = app.add_subcommand("run", "Run scenarios and say what each kernel did");
  command->add_option("PATH", options.scenarios, "Scenario files, or folders of them")->required();
  command
      ->add_option(
          "--tier", options.wanted.tiers,
          "Run the scenarios of this tier (default: those that name none; all: every tier); may be given several "
          "times")
      ->type_name("NAME")
      ->allow_extra_args(false);
  command
      ->add_option(
          "--name", options.wanted.names,
          "Run the scenarios whose name matches, whatever their tier: 'seed-one.irq.*'; may be given several times")
      ->type_name("PATTERN")
      ->allow_extra_args(false);
  command
      ->add_option("--kernel", options.kernels,
                   "A kernel under test, or a pattern such as debian:*/cloud-amd64; may be given "
                   "several times")
      ->type_name("REF")
      ->allow_extra_args(false);
  command->add_option("--capture-kernel", options.capture_kernel, "The capture kernel, if not the kernel under test")
      ->type_name("REF");
  command->add_option("--engine", options.engine, "What runs the guests")
      ->check(CLI::IsMember({"auto", "kvm", "qemu"}))
      ->capture_default_str();
  command->add_option("--repeat", options.repeat, "Trials of each scenario")
      ->check(CLI::Range(1u, 100'000u))
      ->capture_default_str();
  command->add_option("--jobs", options.jobs, "Machines at a time")->check(CLI::Range(1u, 256u))->capture_default_str();
  command->add_option("--out", options.out, "Folder for logs and report.json")->type_name("DIR");
  command->add_option("--json", options.json, "Write the report as JSON")->type_name("FILE");
  command->add_option("--junit", options.junit, "Write the report as JUnit XML")->type_name("FILE");
  command->add_option("--ktap", options.ktap, "Write the report as KTAP")->type_name("FILE");
  add_server(
      *command, options.server,
      "Where it is carried out: the address that panicroom serve prints (default: here). Its catalogue's scenarios "
      "are named catalogue:PATH");
  // For the service alone.
  command->add_option("--journal", options.journal)->group("");
  command->callback([&] { status = options.server.address.empty() ? run(options) : run_remotely(options); });
}

void add_serve_limits(CLI::App& command, ServeOptions& options) {
  const auto number = [&](const std::string& name, auto& value, const std::string& what) {
    return command.add_option(name, value, what)->type_name("N");
  };
  const auto many = CLI::Range(1u, 1'000'000u);
  number("--max-runs", options.runs, "Runs at a time")->check(CLI::Range(1u, 64u))->capture_default_str();
  number("--max-runs-per-client", options.runs_of_a_client, "Runs of one client at a time (default: as --max-runs)")
      ->check(CLI::Range(1u, 64u));
  number("--max-queued", options.queued, "Runs that wait")->check(many)->capture_default_str();
  number("--max-queued-per-client", options.queued_of_a_client,
         "Runs of one client that wait (default: as --max-queued)")
      ->check(many);
  number("--max-vcpus", options.vcpus, "vCPUs of all runs at a time")
      ->check(CLI::Range(2u, 4096u))
      ->capture_default_str();
  number("--max-memory", options.memory_mib, "MiB of memory of all runs' machines at a time")
      ->check(CLI::Range(std::uint64_t{256}, std::uint64_t{1} << 24))
      ->capture_default_str();
  number("--keep-days", options.keep_days, "Remove runs so many days after their end (default: never)")->check(many);
  number("--keep-mib", options.keep_mib, "Remove the oldest runs where all take more MiB (default: never)")
      ->check(many);
  number("--drain", options.drain_seconds, "Seconds that runs have after SIGTERM to come to their ends")
      ->check(CLI::Range(0u, 86'400u))
      ->capture_default_str();
}

void add_serve(CLI::App& app, ServeOptions& options, int& status) {
  auto* command = app.add_subcommand("serve", "Carry out runs for others, until SIGTERM or Ctrl-C");
  command->add_option("--state", options.state, "Folder for runs and what they leave")->type_name("DIR");
  command
      ->add_option("--listen", options.listen,
                   "unix:PATH or HOST:PORT; a socket in the state folder if not given; may be given several times")
      ->type_name("ADDR")
      ->allow_extra_args(false);
  command->add_option("--tls-certificate", options.tls_certificate, "PEM: ports take TLS, with this certificate")
      ->type_name("FILE");
  command->add_option("--tls-key", options.tls_key, "PEM: its private key")->type_name("FILE");
  command->add_option("--tls-ca", options.tls_ca, "PEM: the roots that clients' certificates have to come from")
      ->type_name("FILE");
  command->add_option("--clients", options.clients, "YAML: which clients may do what, with TLS")->type_name("FILE");
  command->add_option("--catalogue", options.catalogue, "Folder of scenarios that clients can name")->type_name("DIR");
  command
      ->add_option("--allow-kernels", options.kernel_folders,
                   "Clients may name kernels below this folder by their paths; may be given several times")
      ->type_name("DIR")
      ->allow_extra_args(false);
  add_serve_limits(*command, options);
  command->add_option("--metrics", options.metrics, "127.0.0.1:PORT or [::1]:PORT: metrics for Prometheus")
      ->type_name("ADDR");
  command->add_flag("--json-log", options.json_log, "Write the log as JSON, an object a line");
  command->add_option("--control-sessions", options.control_sessions, "Machines at a time under clients' own hands")
      ->check(CLI::Range(0u, 64u))
      ->capture_default_str();
  command
      ->add_option("--control-idle", options.control_idle_seconds,
                   "Seconds without a request after which such a machine is ended")
      ->check(CLI::Range(1u, 86'400u))
      ->capture_default_str();
  command->callback([&] { status = serve(options); });
}

// For the service alone, which is why no help names it.
void add_control_session(CLI::App& app, std::filesystem::path& logs, int& status) {
  auto* command = app.add_subcommand("control-session")->group("");
  command->add_option("--logs", logs)->required();
  command->callback([&] { status = control_session(logs); });
}

void add_runs(CLI::App& app, FetchOptions& options, int& status) {
  auto* command = app.add_subcommand("runs", "List, show, watch, cancel and fetch the runs of a server");
  command->require_subcommand(1);
  const auto add = [&](const std::string& name, const std::string& what, auto callback) {
    auto* sub = command->add_subcommand(name, what);
    add_server(*sub, options.remote.server, "Its address (default: the one of this user's panicroom serve)");
    if (name != "list") sub->add_option("RUN", options.remote.run, "runs/17, or 17")->required();
    sub->callback([&status, callback] { status = callback(); });
    return sub;
  };
  auto& remote = options.remote;
  add("list", "All runs, the newest first", [&] { return runs_list(remote); });
  add("show", "What is known of a run", [&] { return runs_show(remote); });
  add("watch", "Show a run from its beginning until it has ended", [&] { return runs_watch(remote); });
  add("cancel", "End a run", [&] { return runs_cancel(remote); });
  add("fetch", "Fetch a run's files", [&] { return runs_fetch(options); })
      ->add_option("--out", options.out, "Folder for them (default: panicroom-out/runs-N)")
      ->type_name("DIR");
}

void add_kernels(CLI::App& app, std::vector<std::string>& references, bool& print_path, bool& cached_only,
                 int& status) {
  auto* command = app.add_subcommand("kernels", "List, fetch and inspect kernels");
  command->require_subcommand(1);
  auto* list = command->add_subcommand("list", "What the archive offers, and what of it is cached");
  list->add_option("SUITE", references, "Debian suites, such as trixie-backports; nothing: all");
  list->add_flag("--cached", cached_only, "Only what is cached; never uses the network");
  list->callback([&] { status = kernels_list(references, cached_only); });
  auto* fetch = command->add_subcommand("fetch", "Fetch kernels into the cache");
  fetch->add_option("REF", references, "What to fetch, patterns as for run; nothing: the default kernel");
  fetch->add_flag("--print-path", print_path, "Print the image's path, and nothing else, on standard output");
  fetch->callback([&] { status = kernels_fetch(references, print_path); });
  auto* inspect = command->add_subcommand("inspect", "What is known of a kernel, and where its points lie");
  inspect->add_option("REF", references, "The kernel")->required()->expected(1);
  inspect->callback([&] { status = kernels_inspect(references.front()); });
}

int main_with(int argc, char** argv) {
  CLI::App app{
      "Puts CPUs in the worst possible place while a Linux kernel panics, and proves whether kdump still "
      "produces a dump.",
      "panicroom"};
  app.require_subcommand(1);
  app.set_version_flag("--version", PANICROOM_VERSION);
  int status = kSuccess;

  RunOptions run_options;
  add_run(app, run_options, status);

  std::vector<std::filesystem::path> paths;
  auto* check_command = app.add_subcommand("check", "Report every mistake in scenario files, and run nothing");
  check_command->add_option("PATH", paths, "Scenario files, or folders of them")->required();
  check_command->callback([&] { status = check(paths); });

  app.add_subcommand("doctor", "Measure what this host can do")->callback([&] { status = doctor(); });

  std::vector<std::string> references;
  bool print_path = false;
  bool cached_only = false;
  add_kernels(app, references, print_path, cached_only, status);

  ReportOptions report_options;
  auto* report_command =
      app.add_subcommand("report", "Show the report of an earlier run again, and write it as a page");
  report_command->add_option("DIR", report_options.folder, "The run's --out folder")->required();
  report_command->add_option("--html", report_options.html, "Where the page goes; DIR/report.html if not given")
      ->type_name("FILE");
  report_command->add_option("--trace", report_options.trace, "Write the trials' events as a trace for Perfetto")
      ->type_name("FILE");
  report_command->callback([&] { status = report(report_options); });

  ServeOptions serve_options;
  add_serve(app, serve_options, status);
  std::filesystem::path session_logs;
  add_control_session(app, session_logs, status);
  FetchOptions fetch_options;
  add_runs(app, fetch_options, status);

  std::filesystem::path before;
  std::filesystem::path after;
  auto* compare_command =
      app.add_subcommand("compare", "Say what changed between two reports; exits with 1 if something got worse");
  compare_command->add_option("OLD", before, "The older report.json, or its --out folder")->required();
  compare_command->add_option("NEW", after, "The newer one")->required();
  compare_command->callback([&] { status = compare(before, after); });

  // A reader of our output that goes away (run | head) must not end the process with its guests.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int cli_status = app.exit(error);
    return cli_status == 0 ? kSuccess : kWrongInput;
  } catch (const std::exception& exception) {
    return fail(host_error("{}", exception.what()));
  }
  return status;
}

}  // namespace
}  // namespace panicroom::cli

int main(int argc, char** argv) {
  try {
    return panicroom::cli::main_with(argc, argv);
  } catch (...) {
    // Memory ran out while an error was being told.
    std::fputs("panicroom: out of memory\n", stderr);
    return panicroom::cli::kHarnessError;
  }
}
