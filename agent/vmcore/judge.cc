#include "agent/vmcore/judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

#include "agent/vmcore/vmcoreinfo.h"

namespace panicroom::vmcore {
namespace {

// The dead kernel's memory as the vmcore has it.
class CoreMemory : public Memory {
 public:
  CoreMemory(const ElfCore& core, std::optional<Gpa> top_table, unsigned levels)
      : core_(core), top_table_(top_table), levels_(levels) {}

  // Stacks may lie in vmalloc's space, which no PT_LOAD's virtual address covers.
  Result<> read_virtual(Gva at, std::span<std::byte> out) override {
    auto direct = core_.read_virtual(at, out);
    if (direct || !top_table_) return direct;
    while (!out.empty()) {
      const auto walk = TRY(walk_page_tables(*top_table_, levels_, at, [this](Gpa table, std::span<std::byte> entry) {
        return core_.read_physical(table, entry);
      }));
      if (!walk.target) return invalid_input("the dead kernel's page tables have nothing at {}", at);
      const std::size_t part = std::min<std::size_t>(out.size(), kPageBytes - at.value % kPageBytes);
      TRY(core_.read_physical(*walk.target, out.first(part)));
      at = at + part;
      out = out.subspan(part);
    }
    return {};
  }
  Result<> read_physical(Gpa at, std::span<std::byte> out) override { return core_.read_physical(at, out); }

 private:
  const ElfCore& core_;
  std::optional<Gpa> top_table_;
  unsigned levels_;
};

class Judge {
 public:
  Judge(const Reader& reader, const JudgeOptions& options, Findings& findings)
      : reader_(reader), options_(options), findings_(findings) {}

  Verdict run() {
    auto core = ElfCore::open(reader_);
    check(kCheckElfHeader, core.has_value(), "an x86-64 ELF-64 core file",
          core ? fmt::format("{} PT_LOAD, {} PT_NOTE", core->loads().size(), core->note_segments())
               : core.error().message());
    if (!core) return verdict_;
    check_loads(*core);
    std::string damage;
    const std::vector<Note> notes = core->read_notes(damage);
    check(kCheckNotes, damage.empty() && !notes.empty(), "a PT_NOTE with whole notes",
          damage.empty() ? fmt::format("{} notes", notes.size()) : damage);
    check_prstatus(notes);
    check_vmcoreinfo(*core, notes);
    take_samples_of(*core);
    return verdict_;
  }

 private:
  void check(std::string_view name, bool ok, std::string expected, std::string actual) {
    ++(ok ? verdict_.checks_passed : verdict_.checks_failed);
    findings_.check({name, ok, std::move(expected), std::move(actual)});
  }

  void check_loads(const ElfCore& core) {
    std::string unreadable;
    std::size_t bad = 0;
    for (std::size_t i = 0; i < core.loads().size(); ++i) {
      const LoadSegment& load = core.loads()[i];
      if (i < kMaxLoads) findings_.load(load);
      verdict_.load_bytes += std::min(load.file_bytes, std::numeric_limits<std::uint64_t>::max() - verdict_.load_bytes);
      if (const auto read = read_both_ends(load); !read) {
        if (bad++ == 0)
          unreadable = fmt::format("PT_LOAD {} at {}: {}", i, load.physical_address, read.error().message());
      }
    }
    check(kCheckLoads, bad == 0 && !core.loads().empty(), "every PT_LOAD readable at both ends",
          bad == 0 ? fmt::format("{} PT_LOAD, {} bytes", core.loads().size(), verdict_.load_bytes)
                   : fmt::format("{} of {} unreadable; {}", bad, core.loads().size(), unreadable));
  }

  Result<> read_both_ends(const LoadSegment& load) const {
    if (load.file_bytes == 0) return {};
    if (load.file_offset > reader_.size() || load.file_bytes > reader_.size() - load.file_offset) {
      return invalid_input("p_offset {:#x} and p_filesz {:#x} reach behind the end of the file", load.file_offset,
                           load.file_bytes);
    }
    std::vector<std::byte> page(static_cast<std::size_t>(std::min(load.file_bytes, kPageBytes)));
    TRY_CONTEXT("its first page", reader_.read_at(load.file_offset, page));
    TRY_CONTEXT("its last page", reader_.read_at(load.file_offset + load.file_bytes - page.size(), page));
    return {};
  }

  void check_prstatus(const std::vector<Note>& notes) {
    std::size_t malformed = 0;
    const std::vector<Prstatus> found = find_prstatus(notes, malformed);
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (found[i].has_registers()) {
        ++verdict_.cpus_with_registers;
        context_.stack_pointers.push_back(found[i][Register::kRsp]);
      }
      findings_.prstatus(i, found[i]);
    }
    const std::size_t expected = options_.expected_cpus;
    const bool enough = expected == 0 ? verdict_.cpus_with_registers > 0 : verdict_.cpus_with_registers == expected;
    std::string actual = fmt::format("{}", verdict_.cpus_with_registers);
    if (malformed > 0) actual += fmt::format(", and {} notes too short to be one", malformed);
    if (found.size() > verdict_.cpus_with_registers) {
      actual += fmt::format(", and {} with every register zero", found.size() - verdict_.cpus_with_registers);
    }
    check(kCheckPrstatus, enough && malformed == 0,
          expected == 0 ? "registers of at least one CPU" : fmt::format("registers of {} CPUs", expected),
          std::move(actual));
  }

  void check_vmcoreinfo(ElfCore& core, const std::vector<Note>& notes) {
    const auto text = find_vmcoreinfo(notes);
    if (text) findings_.vmcoreinfo(*text);
    const Vmcoreinfo info(text.value_or(""));
    const auto release = info.value("OSRELEASE");
    check(kCheckVmcoreinfo, release.has_value(), "a VMCOREINFO note with OSRELEASE",
          release ? fmt::format("OSRELEASE={}", *release)
          : text  ? "no OSRELEASE in it"
                  : "no such note");
    const std::int64_t phys_base = info.number("phys_base").value_or(0);
    core.set_phys_base(phys_base);
    context_.slide = info.kernel_offset().value_or(KaslrSlide{});
    context_.paging_levels = info.number("pgtable_l5_enabled").value_or(0) == 1 ? 5 : 4;
    if (const auto& tables = options_.samples.page_tables) {
      const std::uint64_t above = (*tables + context_.slide) - kKernelTextMapping;
      context_.top_table = Gpa{above + static_cast<std::uint64_t>(phys_base)};
    }

    const auto log = read_printk_log(core, info, options_.max_log_bytes);
    if (log) {
      verdict_.log_records = log->records;
      verdict_.log_records_unreadable = log->unreadable;
      findings_.dead_log(*log);
    }
    check(kCheckDeadLog, log && log->records > 0, "the dead kernel's log",
          log ? fmt::format("{} records, {} unreadable, {} older ones left out", log->records, log->unreadable,
                            log->omitted)
              : log.error().message());
  }

  void take_samples_of(const ElfCore& core) {
    context_.workload_pages = options_.workload_pages;
    CoreMemory memory(core, context_.top_table, context_.paging_levels);
    take_samples(options_.samples, context_, memory, [this](const Sample& sample) {
      ++verdict_.samples;
      findings_.sample(sample);
    });
  }

  const Reader& reader_;
  const JudgeOptions& options_;
  Findings& findings_;
  SampleContext context_;
  Verdict verdict_;
};

}  // namespace

Verdict judge(const Reader& reader, const JudgeOptions& options, Findings& findings) {
  return Judge(reader, options, findings).run();
}

}  // namespace panicroom::vmcore
