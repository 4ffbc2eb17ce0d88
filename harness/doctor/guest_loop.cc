#include "harness/doctor/guest_loop.h"

#include <algorithm>
#include <array>
#include <span>

namespace panicroom::harness {
namespace {

constexpr std::uint16_t kGdtr = 0x100;
constexpr std::uint16_t kGdt = 0x110;
constexpr std::uint16_t kProtected = 0x200;
constexpr std::uint16_t kResetVector = 0xfff0;

constexpr std::uint8_t byte_of(std::uint32_t value, unsigned index) {
  return static_cast<std::uint8_t>(value >> (8 * index));
}

}  // namespace

std::vector<std::byte> guest_rom(std::uint32_t rounds) {
  std::vector<std::byte> rom(kGuestRomBytes, std::byte{0xf4});  // hlt, wherever a guest that went astray may be.
  const auto put = [&](std::size_t offset, std::span<const std::uint8_t> bytes) {
    std::transform(bytes.begin(), bytes.end(), rom.begin() + static_cast<std::ptrdiff_t>(offset),
                   [](std::uint8_t byte) { return std::byte{byte}; });
  };
  const auto imm32 = [](std::uint32_t value, unsigned index) { return byte_of(value, index); };

  // At reset CS's base is kGuestRomAddress and IP is 0xfff0 (SDM volume 3, 10.1.4).
  put(kResetVector, std::array<std::uint8_t, 3>{0xe9, 0x0d, 0x00});  // jmp 0x0000

  constexpr std::uint32_t kEntry = kGuestRomAddress + kProtected;
  put(0, std::array<std::uint8_t, 24>{
             0xfa,  // cli
             0x2e,
             0x66,
             0x0f,
             0x01,
             0x16,
             byte_of(kGdtr, 0),
             byte_of(kGdtr, 1),  // lgdtl %cs:kGdtr
             0x0f,
             0x20,
             0xc0,  // mov %cr0, %eax
             0x0c,
             0x01,  // or $1, %al: CR0.PE
             0x0f,
             0x22,
             0xc0,  // mov %eax, %cr0
             0x66,
             0xea,
             imm32(kEntry, 0),
             imm32(kEntry, 1),
             imm32(kEntry, 2),
             imm32(kEntry, 3),
             0x08,
             0x00,  // ljmpl
         });
  constexpr std::uint32_t kGdtAddress = kGuestRomAddress + kGdt;
  put(kGdtr, std::array<std::uint8_t, 6>{0x0f, 0x00, imm32(kGdtAddress, 0), imm32(kGdtAddress, 1),
                                         imm32(kGdtAddress, 2), imm32(kGdtAddress, 3)});
  // Null, and flat 4 GiB code at CPL0; "accessed" is set already because a ROM cannot be written.
  put(kGdt, std::array<std::uint8_t, 16>{0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0});

  constexpr auto kMark = static_cast<std::uint8_t>(kMarkPort);
  constexpr auto kExit = static_cast<std::uint8_t>(kExitPort);
  put(kProtected, std::array<std::uint8_t, 32>{
                      0xba,
                      imm32(rounds, 0),
                      imm32(rounds, 1),
                      imm32(rounds, 2),
                      imm32(rounds, 3),  // mov $rounds, %edx
                      0xb0,
                      '.',  // mov $'.', %al
                      0xe6,
                      kMark,  // out %al, $kMarkPort
                      0xb9,
                      imm32(kLoopsPerRound, 0),
                      imm32(kLoopsPerRound, 1),
                      imm32(kLoopsPerRound, 2),
                      imm32(kLoopsPerRound, 3),  // mov $kLoopsPerRound, %ecx
                      0x49,                      // dec %ecx
                      0x75,
                      0xfd,  // jnz .-1
                      0x4a,  // dec %edx
                      0x75,
                      0xf1,  // jnz to the mark
                      0xb0,
                      '.',  // mov $'.', %al
                      0xe6,
                      kMark,  // out %al, $kMarkPort
                      0xb0,
                      kExitValue,  // mov $kExitValue, %al
                      0xe6,
                      kExit,  // out %al, $kExitPort
                      0xf4,   // hlt
                      0xeb,
                      0xfd,  // jmp to the hlt
                      0x90,  // nop
                  });
  return rom;
}

}  // namespace panicroom::harness
