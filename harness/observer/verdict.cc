#include "harness/observer/verdict.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

namespace panicroom::harness {
namespace {

std::string_view word(v1::Outcome outcome) {
  switch (outcome) {
    case v1::OUTCOME_DUMPED:
      return name(Outcome::kDumped);
    case v1::OUTCOME_DUMP_INCOMPLETE:
      return name(Outcome::kDumpIncomplete);
    case v1::OUTCOME_DUMP_INVALID:
      return name(Outcome::kDumpInvalid);
    case v1::OUTCOME_CAPTURE_FAILED:
      return name(Outcome::kCaptureFailed);
    case v1::OUTCOME_RESET:
      return name(Outcome::kReset);
    case v1::OUTCOME_HUNG:
      return name(Outcome::kHung);
    case v1::OUTCOME_NO_PANIC:
      return name(Outcome::kNoPanic);
    default:
      return "no outcome";
  }
}

std::vector<std::string> dump_differences(const DumpExpectation& expected, const v1::Run& run) {
  std::vector<std::string> result;
  const v1::Dump& dump = run.dump();
  if (expected.panic_cpu && *expected.panic_cpu != dump.panic_cpu()) {
    result.push_back(fmt::format("dump.panic_cpu is {}, not {}", dump.panic_cpu(), *expected.panic_cpu));
  }
  if (expected.cpus_with_registers && *expected.cpus_with_registers != dump.cpus_with_registers()) {
    result.push_back(fmt::format("dump.cpus_with_registers is {}, not {}", dump.cpus_with_registers(),
                                 *expected.cpus_with_registers));
  }
  const std::vector<std::uint32_t> missing(dump.missing_cpus().begin(), dump.missing_cpus().end());
  if (expected.missing_cpus && *expected.missing_cpus != missing) {
    result.push_back(fmt::format("dump.missing_cpus is [{}], not [{}]", fmt::join(missing, ", "),
                                 fmt::join(*expected.missing_cpus, ", ")));
  }
  for (const std::string& text : dump.log_missing()) {
    result.push_back(fmt::format("the dead kernel's log does not contain \"{}\"", text));
  }
  return result;
}

// "down_trylock+0x12/..." is in down_trylock; so is "down_trylock.part.0+0x3", a part that the compiler has split off.
bool is_in(std::string_view place, std::string_view function) {
  place = place.substr(0, place.find('+'));
  return place.starts_with(function) && (place.size() == function.size() || place[function.size()] == '.');
}

std::vector<std::string> where_differences(const Expectation& expected, const v1::Run& run) {
  std::vector<std::string> result;
  for (const auto& entry : expected.where) {
    // No structured binding: Clang 14 lets no lambda capture one.
    const std::uint32_t cpu = entry.first;
    const auto functions = fmt::format("{}", fmt::join(entry.second, " or "));
    const auto place = std::ranges::find(run.places(), cpu, &v1::CpuPlace::cpu);
    if (place == run.places().end()) {
      result.push_back(fmt::format("it is not known where CPU {} is, which was to be in {}", cpu, functions));
      continue;
    }
    const bool inside = std::ranges::any_of(entry.second, [&](const std::string& function) {
      return is_in(place->place(), function) || std::ranges::any_of(place->backtrace(), [&](const std::string& caller) {
               return is_in(caller, function);
             });
    });
    if (!inside) {
      result.push_back(fmt::format("CPU {} is in {}{}{}, not in {}", cpu, place->place(),
                                   place->backtrace_size() > 0 ? ", called from " : "",
                                   fmt::join(place->backtrace(), " < "), functions));
    }
  }
  return result;
}

MessageState from_proto(v1::PanicMessage::State state) {
  return state == v1::PanicMessage::STATE_WHOLE     ? MessageState::kWhole
         : state == v1::PanicMessage::STATE_GARBLED ? MessageState::kGarbled
                                                    : MessageState::kAbsent;
}

std::vector<std::string> message_differences(const MessageExpectation& expected, const v1::Run& run) {
  std::vector<std::string> result;
  const auto compare = [&](std::string_view where, std::optional<MessageState> wanted, v1::PanicMessage::State state) {
    if (!wanted) return;
    if (state == v1::PanicMessage::STATE_UNSPECIFIED) {
      result.push_back(fmt::format("nobody was seen to call panic(): there is no message {}", where));
    } else if (from_proto(state) != *wanted) {
      result.push_back(fmt::format("the panic's message \"{}\" is {} {}, not {}", run.panic_message().text(),
                                   name(from_proto(state)), where, name(*wanted)));
    }
  };
  compare("on the console", expected.console, run.panic_message().console());
  compare("in the log", expected.log, run.panic_message().log());
  return result;
}

}  // namespace

v1::PanicMessage::State to_proto(MessageState state) {
  switch (state) {
    case MessageState::kWhole:
      return v1::PanicMessage::STATE_WHOLE;
    case MessageState::kGarbled:
      return v1::PanicMessage::STATE_GARBLED;
    case MessageState::kAbsent:
      return v1::PanicMessage::STATE_ABSENT;
  }
  return v1::PanicMessage::STATE_UNSPECIFIED;
}

v1::Outcome to_proto(Outcome outcome) {
  switch (outcome) {
    case Outcome::kDumped:
      return v1::OUTCOME_DUMPED;
    case Outcome::kDumpIncomplete:
      return v1::OUTCOME_DUMP_INCOMPLETE;
    case Outcome::kDumpInvalid:
      return v1::OUTCOME_DUMP_INVALID;
    case Outcome::kCaptureFailed:
      return v1::OUTCOME_CAPTURE_FAILED;
    case Outcome::kReset:
      return v1::OUTCOME_RESET;
    case Outcome::kHung:
      return v1::OUTCOME_HUNG;
    case Outcome::kNoPanic:
      return v1::OUTCOME_NO_PANIC;
  }
  return v1::OUTCOME_UNSPECIFIED;
}

void decide_verdict(const Expectation& expectation, v1::Run& run) {
  run.set_expected_outcome(to_proto(expectation.outcome));
  if (run.verdict() == v1::VERDICT_ERROR || run.verdict() == v1::VERDICT_SKIP) return;
  std::vector<std::string> wrong;
  if (run.outcome() != run.expected_outcome()) {
    wrong.push_back(fmt::format("expected {}, but the outcome is {}{}", word(run.expected_outcome()),
                                word(run.outcome()), run.detail().empty() ? "" : ": " + run.detail()));
  }
  // A dump proves nothing if the CPUs were not in the place that the scenario is about.
  for (const auto& step : run.steps()) {
    if (step.happened()) continue;
    wrong.push_back(fmt::format("step {} was never reached ({})", step.number(), step.text()));
    break;  // Those behind it were not waited for.
  }
  if (run.has_dump() && run.outcome() == run.expected_outcome()) {
    std::ranges::move(dump_differences(expectation.dump, run), std::back_inserter(wrong));
  }
  if (run.outcome() == run.expected_outcome()) {
    // The right outcome for another reason is not what the scenario is about.
    std::ranges::move(where_differences(expectation, run), std::back_inserter(wrong));
    std::ranges::move(message_differences(expectation.panic_message, run), std::back_inserter(wrong));
    if (expectation.because && run.detail().find(*expectation.because) == std::string::npos) {
      wrong.push_back(fmt::format("the outcome is {} as expected, but not because of \"{}\": {}", word(run.outcome()),
                                  *expectation.because, run.detail()));
    }
  }
  run.set_verdict(wrong.empty() ? v1::VERDICT_PASS : v1::VERDICT_FAIL);
  run.set_detail(fmt::format("{}", fmt::join(wrong, "; ")));
}

void set_undecided(const Error& error, v1::Run& run) {
  run.set_verdict(error.kind() == ErrorKind::kUnsupported ? v1::VERDICT_SKIP : v1::VERDICT_ERROR);
  run.set_detail(error.message());
}

}  // namespace panicroom::harness
