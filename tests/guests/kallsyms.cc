// The init of a guest that tells its own symbols: writes /proc/kallsyms to the agent port as one gzip member, whose
// trailer holds length and CRC-32, and then sleeps for ever. What goes wrong is written as text instead, which is no
// gzip.
#include <fcntl.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <unistd.h>
#include <zlib.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace {

// QEMU's debug console, as agent/protocol/frame.h has it.
constexpr std::uint16_t kAgentPort = 0x402;

void write_port(const void* bytes, std::size_t count) {
  asm volatile("cld; rep outsb" : "+S"(bytes), "+c"(count) : "d"(kAgentPort) : "memory");
}

[[noreturn]] void park() {
  while (true) pause();
}

[[noreturn]] void fail(const char* what) {
  std::array<char, 256> text{};
  const int length = std::snprintf(text.data(), text.size(), "FAILED: %s: %s\n", what, std::strerror(errno));
  write_port(text.data(), static_cast<std::size_t>(length));
  park();
}

// Gives the compressor what was read, and the port what comes out.
void compress(z_stream& gzip, Bytef* bytes, std::size_t count, int flush) {
  gzip.next_in = bytes;
  gzip.avail_in = static_cast<uInt>(count);
  static std::array<Bytef, 1 << 16> packed;
  do {
    gzip.next_out = packed.data();
    gzip.avail_out = packed.size();
    if (deflate(&gzip, flush) == Z_STREAM_ERROR) fail("deflate");
    write_port(packed.data(), packed.size() - gzip.avail_out);
  } while (gzip.avail_out == 0);
}

}  // namespace

int main() {
  if (iopl(3) != 0) park();  // There is nobody to tell.
  if (mount("proc", "/proc", "proc", 0, nullptr) != 0) fail("mounting /proc");
  const int symbols = open("/proc/kallsyms", O_RDONLY);
  if (symbols < 0) fail("opening /proc/kallsyms");

  constexpr int kGzipWrapper = 16;
  constexpr int kMemoryLevel = 8;
  z_stream gzip{};
  if (deflateInit2(&gzip, Z_BEST_SPEED, Z_DEFLATED, MAX_WBITS + kGzipWrapper, kMemoryLevel, Z_DEFAULT_STRATEGY) !=
      Z_OK) {
    fail("deflateInit2");
  }
  static std::array<Bytef, 1 << 16> text;
  while (true) {
    const ssize_t got = read(symbols, text.data(), text.size());
    if (got < 0) fail("reading /proc/kallsyms");
    compress(gzip, text.data(), static_cast<std::size_t>(got), got == 0 ? Z_FINISH : Z_NO_FLUSH);
    if (got == 0) park();
  }
}
