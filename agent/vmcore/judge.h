// Judges a vmcore: is it a dump, what is in it, what is missing. Runs in the capture kernel, on /proc/vmcore.
//
// It looks at the file alone. Whether what is in it is *true* is for the host to say, who knows the machine's registers
// and memory at the crash: so everything that the host needs for that is handed on as it is found.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "agent/vmcore/elf_core.h"
#include "agent/vmcore/printk_log.h"
#include "agent/vmcore/prstatus.h"
#include "agent/vmcore/samples.h"

namespace panicroom::vmcore {

// The names of the checks, in the order in which they are made. After a failed kCheckElfHeader nothing else is checked.
inline constexpr std::string_view kCheckElfHeader = "elf-header";   // ELF-64, x86-64, core; all program headers there
inline constexpr std::string_view kCheckLoads = "loads-readable";   // there are PT_LOADs; first and last page readable
inline constexpr std::string_view kCheckNotes = "notes";            // there is a PT_NOTE, and every note is whole
inline constexpr std::string_view kCheckPrstatus = "prstatus";      // as many CPUs with registers as are expected
inline constexpr std::string_view kCheckVmcoreinfo = "vmcoreinfo";  // the note is there, with OSRELEASE
inline constexpr std::string_view kCheckDeadLog = "dead-log";       // the printk ring buffer is found and has records

struct Check {
  std::string_view name;  // One of the above.
  bool ok = false;
  std::string expected;
  std::string actual;
};

struct Verdict {
  std::size_t checks_passed = 0;
  std::size_t checks_failed = 0;
  std::size_t cpus_with_registers = 0;
  std::uint64_t load_bytes = 0;  // Sum of p_filesz of the PT_LOADs; saturates.
  std::size_t log_records = 0;
  std::size_t log_records_unreadable = 0;
  std::size_t samples = 0;
};

// Told of each thing as soon as it is known, so that a capture kernel that dies half-way has not died in vain.
class Findings {
 public:
  virtual ~Findings() = default;
  virtual void check(const Check& check) = 0;
  // Each PT_LOAD, in the order of the program headers; at most kMaxLoads.
  virtual void load(const LoadSegment& segment) = 0;
  // Also one without registers. `index`: the place among the NT_PRSTATUS notes.
  virtual void prstatus(std::size_t index, const Prstatus& status) = 0;
  virtual void vmcoreinfo(std::string_view text) = 0;
  virtual void dead_log(const PrintkLog& log) = 0;
  virtual void sample(const Sample& sample) = 0;
};

// More than any machine has ranges of memory.
inline constexpr std::size_t kMaxLoads = 1024;

struct JudgeOptions {
  // CPUs that ought to have saved registers; 0: not known, at least one is expected.
  std::size_t expected_cpus = 0;
  std::size_t max_log_bytes = 256UL * 1024;
  SamplePlan samples;
  std::vector<Gpa> workload_pages;
};

Verdict judge(const Reader& reader, const JudgeOptions& options, Findings& findings);

}  // namespace panicroom::vmcore
