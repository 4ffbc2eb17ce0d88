// The conformance suite: what hypervisor/machine.h promises, promise by promise, on every engine. The same cases and
// the same assertions for all; what an engine says that it cannot do, or this host cannot, is a skip that names it.
//
// A suite is a class derived from Conformance, with PANICROOM_ON_EVERY_ENGINE(Suite) after its TEST_P()s.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "hypervisor/conformance/engine.h"
#include "hypervisor/conformance/machine_assertions.h"
#include "hypervisor/conformance/test_guest.h"

namespace panicroom::hypervisor {

// All engines that this build has.
const std::vector<Engine>& engines();

constexpr VcpuId k0{0};
constexpr VcpuId k1{1};
constexpr VcpuId k2{2};
constexpr VcpuId k3{3};

class Conformance : public ::testing::TestWithParam<Engine> {
 protected:
  void SetUp() override;

  static std::unique_ptr<TestGuest> create(std::uint32_t vcpus) { return TestGuest::create(GetParam(), vcpus); }
  static std::unique_ptr<TestGuest> at_work(std::uint32_t vcpus) { return TestGuest::at_work(GetParam(), vcpus); }
};

// The places where the guest sends IPIs.
std::vector<IcrStore> icr_stores(const TestGuest& guest);

// For messages and the tests' names.
std::ostream& operator<<(std::ostream& out, const Engine& engine);
inline std::string name_of_engine(const ::testing::TestParamInfo<Engine>& info) { return info.param.name; }

#define PANICROOM_ON_EVERY_ENGINE(Suite) \
  INSTANTIATE_TEST_SUITE_P(Engine, Suite, ::testing::ValuesIn(engines()), name_of_engine)

// Skips the test if the machine lacks something that machine.h lets it lack.
#define NEEDS_CAPABILITY(machine, capability)                                                          \
  do {                                                                                                 \
    if (!(machine).can(capability)) {                                                                  \
      GTEST_SKIP() << "engine " << (machine).engine() << " lacks the capability " << name(capability); \
    }                                                                                                  \
  } while (false)

}  // namespace panicroom::hypervisor
