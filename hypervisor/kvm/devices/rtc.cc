#include "hypervisor/kvm/devices/rtc.h"

#include <algorithm>
#include <chrono>

namespace panicroom::kvm {

using namespace rtc;  // NOLINT(google-build-using-namespace): the registers of this file's one device.

std::uint8_t Rtc::encode(unsigned number) const {
  return static_cast<std::uint8_t>((register_b_ & kBinary) != 0 ? number : number / 10 * 16 + number % 10);
}

std::uint8_t Rtc::encode_hours(unsigned hours) const {
  if ((register_b_ & kHours24) != 0) return encode(hours);
  const std::uint8_t encoded = encode(hours % 12 == 0 ? 12 : hours % 12);
  return hours >= 12 ? encoded | kAfternoon : encoded;
}

std::uint8_t Rtc::read(std::int64_t epoch_seconds) const {
  constexpr std::int64_t kEndOf9999 = 253402300799;
  const std::chrono::sys_seconds now{std::chrono::seconds{std::clamp<std::int64_t>(epoch_seconds, 0, kEndOf9999)}};
  const auto day = std::chrono::floor<std::chrono::days>(now);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss time{now - day};
  const auto year = static_cast<unsigned>(static_cast<int>(date.year()));
  switch (index_) {
    case kSeconds:
      return encode(static_cast<unsigned>(time.seconds().count()));
    case kMinutes:
      return encode(static_cast<unsigned>(time.minutes().count()));
    case kHours:
      return encode_hours(static_cast<unsigned>(time.hours().count()));
    case kDayOfWeek:
      return encode(std::chrono::weekday{day}.c_encoding() + 1);
    case kDayOfMonth:
      return encode(static_cast<unsigned>(date.day()));
    case kMonth:
      return encode(static_cast<unsigned>(date.month()));
    case kYear:
      return encode(year % 100);
    case kCentury:
      return encode(year / 100);
    case kRegisterA:
      return register_a_;
    case kRegisterB:
      return register_b_;
    case kRegisterC:
      return 0;
    case kRegisterD:
      return kValid;
    default:
      return memory_[index_];
  }
}

void Rtc::write(std::uint8_t value) {
  switch (index_) {
    case kRegisterA:
      register_a_ = value & static_cast<std::uint8_t>(~kUpdateInProgress);
      break;
    case kRegisterB:
      register_b_ = value & static_cast<std::uint8_t>(~kInterruptEnables);
      break;
    default:
      // What is written to a register of the time or a status lands where nobody reads it.
      memory_[index_] = value;
      break;
  }
}

}  // namespace panicroom::kvm
