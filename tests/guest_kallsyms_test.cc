// The symbols that panicroom decodes from a kernel's image are those that the running kernel has, at the addresses
// where it has them, under KASLR: compared with the guest's own /proc/kallsyms.
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <iostream>
#include <random>
#include <set>
#include <variant>

#include "agent/initramfs/newc_archive.h"
#include "agent/protocol/workloads.h"
#include "base/file.h"
#include "harness/session/engine.h"
#include "harness/session/kernel_cmdline.h"
#include "harness/session/running_slide.h"
#include "kernels/points/named_points.h"
#include "tests/command_line.h"

namespace panicroom::tests {
namespace {

using hypervisor::Clock;
using hypervisor::Event;
using hypervisor::Machine;
using kernels::KernelImage;

// So long that only a machine that is stuck gets there.
constexpr auto kStuck = std::chrono::minutes(10);

// --- The guest's side.

// Takes the gzip member out of what comes over the agent port. zlib compares the trailer's CRC-32 and length.
class GzipMember {
 public:
  GzipMember() {
    constexpr int kGzipWrapper = 16;
    if (inflateInit2(&stream_, MAX_WBITS + kGzipWrapper) != Z_OK) ADD_FAILURE() << "inflateInit2";
  }
  ~GzipMember() { inflateEnd(&stream_); }
  GzipMember(const GzipMember&) = delete;
  GzipMember& operator=(const GzipMember&) = delete;

  Result<> feed(std::string_view bytes) {
    if (!begun_) {
      // The firmware's text comes first, then the member, or the guest's words on why there is none.
      before_ += bytes;
      constexpr std::string_view kMagic = "\x1f\x8b\x08";
      const auto failed = before_.find("FAILED: ");
      if (failed != std::string::npos && before_.find('\n', failed) != std::string::npos) {
        return host_error("the guest says: {}", before_.substr(failed));
      }
      const auto begin = before_.find(kMagic);
      if (begin == std::string::npos) return {};
      begun_ = true;
      return unpack(before_.substr(begin));
    }
    return unpack(std::string(bytes));
  }

  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  Result<> unpack(std::string bytes) {
    constexpr std::size_t kMaxText = std::size_t{256} << 20;
    std::array<char, 1 << 16> part;
    stream_.next_in = reinterpret_cast<Bytef*>(bytes.data());
    stream_.avail_in = static_cast<uInt>(bytes.size());
    do {
      if (ended_) return host_error("{} bytes behind the end of the symbols", stream_.avail_in);
      stream_.next_out = reinterpret_cast<Bytef*>(part.data());
      stream_.avail_out = static_cast<uInt>(part.size());
      const int status = inflate(&stream_, Z_NO_FLUSH);
      if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) {
        return host_error("the symbols are damaged: {}", stream_.msg == nullptr ? "no message" : stream_.msg);
      }
      ended_ = status == Z_STREAM_END;
      text_.append(part.data(), part.size() - stream_.avail_out);
      if (text_.size() > kMaxText) return host_error("the guest's symbols do not end");
    } while (stream_.avail_in > 0 || stream_.avail_out == 0);
    return {};
  }

  z_stream stream_{};
  std::string before_;
  std::string text_;
  bool begun_ = false;
  bool ended_ = false;
};

Result<std::vector<std::byte>> guest_initramfs() {
  const auto init = TRY(read_file(PANICROOM_KALLSYMS_GUEST));
  agent::NewcArchive archive;
  TRY(archive.open());
  for (const std::string_view directory : {"/dev", "/proc"}) TRY(archive.add_directory(directory));
  TRY(archive.add_character_device("/dev/console", 5, 1));
  TRY(archive.add_file("/init", 0755, init));
  return archive.finish();
}

// Runs the machine until the guest has told its symbols, and stops it.
Result<std::string> receive_symbols(Machine& machine) {
  GzipMember member;
  std::string console;
  bool pausing = false;
  const auto limit = Clock::now() + kStuck;
  TRY(machine.resume());
  while (true) {
    const Event event = machine.next_event(limit);
    if (const auto* output = std::get_if<hypervisor::Output>(&event)) {
      if (output->stream == hypervisor::Stream::kConsole) {
        console += output->bytes;
        continue;
      }
      TRY(member.feed(output->bytes));
      if (!member.ended() || pausing) continue;
      pausing = true;
      TRY(machine.pause());
    } else if (std::holds_alternative<hypervisor::Paused>(event) && pausing) {
      return member.text();
    } else {
      const auto* lost = std::get_if<hypervisor::MachineLost>(&event);
      constexpr std::size_t kTail = 500;
      return host_error("{}; the console's end: {}",
                        lost ? lost->reason.message() : fmt::format("event {}", event.index()),
                        console.substr(console.size() - std::min(console.size(), kTail)));
    }
  }
}

struct RunningSymbols {
  KaslrSlide slide;
  std::string text;  // /proc/kallsyms.
};

Result<RunningSymbols> boot(const harness::Engine& engine, const KernelImage& image,
                            const std::filesystem::path& directory) {
  TRY(make_directories(directory));
  const harness::MachineSpec spec;
  hypervisor::MachineConfig config;
  config.name = "guest-kallsyms";
  config.vcpus = 1;
  config.memory_bytes = spec.memory_bytes;
  config.kernel = image.path();
  config.initramfs = directory / "initramfs";
  config.cmdline = harness::first_cmdline(spec, "");
  config.directory = directory;
  const auto initramfs = TRY(guest_initramfs());
  TRY(write_file(config.initramfs, initramfs));
  const auto machine = TRY(engine.factory(config));
  RunningSymbols running;
  running.text = TRY(receive_symbols(*machine));
  running.slide = TRY(harness::find_running_slide(*machine, image));
  TRY(machine->destroy());
  return running;
}

// --- The comparison.

// A line of /proc/kallsyms: where the kernel is running.
struct Line {
  std::uint64_t address = 0;
  std::string_view name;
  char type = '?';

  friend auto operator<=>(const Line&, const Line&) = default;  // NOLINT(modernize-use-nullptr): a 0 of the compiler's.
};

std::ostream& operator<<(std::ostream& out, const Line& line) {
  return out << fmt::format("{:016x} {} {}", line.address, line.type, line.name);
}

// The kernel's own symbols in /proc/kallsyms; those of modules, BPF programs and trampolines end in a word in brackets.
std::vector<Line> own_symbols(std::string_view text) {
  std::vector<Line> lines;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const std::string_view whole = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (whole.find('\t') != std::string_view::npos) continue;
    Line line;
    const auto [rest, error] = std::from_chars(whole.data(), whole.data() + whole.size(), line.address, 16);
    const auto digits = static_cast<std::size_t>(rest - whole.data());
    if (error != std::errc{} || whole.size() < digits + 4 || whole[digits] != ' ' || whole[digits + 2] != ' ') {
      ADD_FAILURE() << "not a line of /proc/kallsyms: " << whole;
      return {};
    }
    line.type = whole[digits + 1];
    line.name = whole.substr(digits + 3);
    lines.push_back(line);
  }
  return lines;
}

// Where the running kernel has a symbol. Per-CPU symbols at 0 and other absolute ones are offsets: KASLR leaves them.
std::uint64_t running(const kernels::Symbol& symbol, KaslrSlide slide) {
  constexpr LinkAddress kKernelMap{0xffffffff80000000};
  return symbol.address < kKernelMap ? symbol.address.value : (symbol.address + slide).value;
}

std::vector<Line> lines_of(std::span<const kernels::Symbol> symbols, KaslrSlide slide) {
  std::vector<Line> lines;
  for (const auto& symbol : symbols) lines.push_back({running(symbol, slide), symbol.name, symbol.type});
  std::ranges::sort(lines);
  return lines;
}

// The first lines of `a` that are not in `b`, and how many there are; both are sorted.
std::string missing(const std::vector<Line>& a, const std::vector<Line>& b) {
  std::vector<Line> lines;
  std::ranges::set_difference(a, b, std::back_inserter(lines));
  std::string text = fmt::format("{} of {}", lines.size(), a.size());
  constexpr std::size_t kShown = 10;
  for (std::size_t i = 0; i < std::min(lines.size(), kShown); ++i) text += "\n  " + testing::PrintToString(lines[i]);
  return text;
}

// Every name that panicroom looks up in kernels, whether or not this one has it.
std::set<std::string_view> names_relied_on() {
  std::set<std::string_view> names = {
      "panic",        "__crash_kexec",     "asm_exc_divide_error", "asm_exc_nmi",   "asm_exc_page_fault",
      "linux_banner", "asm_sysvec_reboot", "panic_smp_self_stop",  "mutex_trylock", "__x86_return_thunk"};
  for (const auto& point : kernels::kNamedPoints) {
    for (const auto& way : point.ways) {
      names.insert(way.functions.begin(), way.functions.end());
      names.insert(way.target);
    }
  }
  constexpr std::uint32_t kCpus = 16;
  for (const auto& workload : agent::workloads()) {
    for (std::uint32_t cpu = 0; cpu < kCpus; ++cpu) names.insert(agent::point_symbol(workload, VcpuId{cpu}));
  }
  names.erase("");
  return names;
}

// PANICROOM_TEST_KERNEL and, between colons, PANICROOM_TEST_KERNELS. Empty: the one test that skips.
std::vector<std::string> kernels_under_test() {
  std::vector<std::string> paths;
  if (const auto kernel = test_kernel()) paths.push_back(kernel->native());
  const char* const more = std::getenv("PANICROOM_TEST_KERNELS");
  std::string_view rest = more == nullptr ? "" : more;
  while (!rest.empty()) {
    const auto colon = rest.find(':');
    if (const std::string path(rest.substr(0, colon)); !path.empty()) paths.push_back(path);
    rest.remove_prefix(colon == std::string_view::npos ? rest.size() : colon + 1);
  }
  if (paths.empty()) paths.emplace_back();
  return paths;
}

class GuestKallsymsTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam().empty()) GTEST_SKIP() << no_kernel();
    auto image = KernelImage::load(GetParam());
    ASSERT_TRUE(image) << image.error().message();
    image_.emplace(*std::move(image));
    v1::Host host;
    const auto engine = harness::make_engine("qemu", host);
    ASSERT_TRUE(engine) << engine.error().message();
    auto booted = boot(*engine, *image_, scratch_.path() / "1");
    // As the harness does: a boot that fails is tried once more, because that happens to hosts.
    if (!booted) {
      std::cout << "booting again: " << booted.error().message() << "\n";
      booted = boot(*engine, *image_, scratch_.path() / "2");
    }
    ASSERT_TRUE(booted) << booted.error().message();
    guest_ = *std::move(booted);
    theirs_ = own_symbols(guest_.text);
    std::ranges::sort(theirs_);
    ASSERT_FALSE(theirs_.empty());
    ASSERT_NE(theirs_.back().address, 0U) << "the guest hides its addresses";
  }

  // What the guest says of a name, ascending.
  [[nodiscard]] std::vector<Line> in_guest(std::string_view name) const {
    std::vector<Line> lines;
    std::ranges::copy_if(theirs_, std::back_inserter(lines), [&](const Line& line) { return line.name == name; });
    return lines;
  }

  // The table's answer for a name is the guest's.
  void expect_found(std::string_view name) const {
    EXPECT_EQ(lines_of(image_->symbols().find(name), guest_.slide), in_guest(name)) << name;
  }

  Scratch scratch_;
  std::optional<KernelImage> image_;
  RunningSymbols guest_;
  std::vector<Line> theirs_;  // Sorted.
};

TEST_P(GuestKallsymsTest, TheImageHasTheRunningKernelsSymbols) {
  const auto ours = lines_of(image_->symbols().all(), guest_.slide);
  EXPECT_TRUE(ours == theirs_) << "in the image and not in the guest: " << missing(ours, theirs_)
                               << "\nin the guest and not in the image: " << missing(theirs_, ours);

  std::size_t present = 0;
  for (const auto name : names_relied_on()) {
    expect_found(name);
    if (!in_guest(name).empty()) ++present;
  }
  EXPECT_GT(present, names_relied_on().size() / 2);

  // A sample through the lookups that the program uses: by name, and by address.
  const auto seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::vector<Line> sample;
  constexpr std::size_t kSample = 200;
  std::ranges::sample(theirs_, std::back_inserter(sample), kSample, std::mt19937(seed));
  ASSERT_EQ(sample.size(), kSample);
  for (const auto& line : sample) {
    expect_found(line.name);
    const auto of_name = image_->symbols().find(line.name);
    const auto symbol = std::ranges::find_if(
        of_name, [&](const kernels::Symbol& each) { return running(each, guest_.slide) == line.address; });
    ASSERT_NE(symbol, of_name.end()) << line;
    if (!symbol->text) continue;
    const auto at = image_->symbols().containing(symbol->address);
    ASSERT_TRUE(at) << line;
    EXPECT_EQ(at->symbol.address, symbol->address) << line;
    EXPECT_EQ(at->offset, 0U) << line;
  }

  const auto percpu = std::ranges::count_if(image_->symbols().all(), [&](const kernels::Symbol& each) {
    return running(each, guest_.slide) == each.address.value;
  });
  std::cout << fmt::format(
      "{}: {} symbols in the image, {} in the guest, {} of them not moved by the slide {:#x}; {}; "
      "{} names relied on; seed {}\n",
      image_->release(), ours.size(), theirs_.size(), percpu, guest_.slide.bytes,
      kernels::kallsyms_layout_name(image_->kallsyms_layout()), present, seed);
}

INSTANTIATE_TEST_SUITE_P(Kernels, GuestKallsymsTest, testing::ValuesIn(kernels_under_test()),
                         [](const testing::TestParamInfo<std::string>& tested) {
                           std::string name = std::filesystem::path(tested.param).filename().native();
                           std::ranges::replace_if(
                               name, [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
                           return fmt::format("{}_{}", tested.index, name.empty() ? "none" : name);
                         });

}  // namespace
}  // namespace panicroom::tests
