#include "hypervisor/kvm/breakpoint_places.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace panicroom::kvm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr VcpuId k0{0};
constexpr VcpuId k1{1};
constexpr Gva gva(std::uint64_t value) { return Gva{value}; }

TEST(BreakpointPlaces, AreDebugRegistersOfTheVcpusConcerned) {
  const std::vector<WantedBreakpoint> wanted{{gva(1), {}}, {gva(2), {k1}}};
  const auto places = place_breakpoints(wanted, 2, 4);
  EXPECT_THAT(places.hardware, ElementsAre(ElementsAre(gva(1)), ElementsAre(gva(1), gva(2))));
  EXPECT_THAT(places.software, IsEmpty());
}

TEST(BreakpointPlaces, OverflowIntoTheCode) {
  const std::vector<WantedBreakpoint> wanted{{gva(1), {}}, {gva(2), {k0}}, {gva(3), {}}, {gva(4), {k1}}};
  const auto places = place_breakpoints(wanted, 2, 2);
  EXPECT_THAT(places.hardware, ElementsAre(ElementsAre(gva(1), gva(2)), ElementsAre(gva(1), gva(4))));
  EXPECT_THAT(places.software, ElementsAre(gva(3)));
}

TEST(BreakpointPlaces, OneAddressIsOnePlace) {
  const std::vector<WantedBreakpoint> wanted{{gva(1), {}}, {gva(1), {k0}}, {gva(2), {}}, {gva(1), {}}};
  const auto places = place_breakpoints(wanted, 1, 2);
  EXPECT_THAT(places.hardware, ElementsAre(ElementsAre(gva(1), gva(2))));
  EXPECT_THAT(places.software, IsEmpty());
}

TEST(BreakpointPlaces, AnAddressThatSomeVcpuHasNoRoomForIsInTheCodeForAll) {
  const std::vector<WantedBreakpoint> wanted{{gva(1), {k1}}, {gva(2), {k0}}, {gva(2), {k1}}};
  const auto places = place_breakpoints(wanted, 2, 1);
  EXPECT_THAT(places.hardware, ElementsAre(IsEmpty(), ElementsAre(gva(1))));
  EXPECT_THAT(places.software, ElementsAre(gva(2)));
}

}  // namespace
}  // namespace panicroom::kvm
