#include "agent/guest/tsc_frequency.h"

#include <gtest/gtest.h>

namespace panicroom::agent {
namespace {

TEST(TscFrequency, IsReadFromTheKernelsLog) {
  EXPECT_EQ(detected_tsc_khz("<6>[    0.012000] tsc: Unable to calibrate against PIT\n"
                             "<6>[    0.012000] tsc: Detected 2093.852 MHz processor\n"
                             "<6>[    1.100000] tsc: Refined TSC clocksource calibration: 2095.078 MHz\n"),
            2093852U);
  EXPECT_EQ(detected_tsc_khz("tsc: Detected 3000.000 MHz processor"), 3000000U);
}

TEST(TscFrequency, WhatIsNoFrequencyIsLeftOut) {
  for (const auto* log :
       {"", "tsc: Fast TSC calibration failed", "tsc: Detected ", "tsc: Detected  MHz", "tsc: Detected 2093 MHz",
        "tsc: Detected 2093.85 MHz", "tsc: Detected 2093.8520 MHz", "tsc: Detected 0.500 MHz",
        "tsc: Detected -1.000 MHz", "tsc: Detected 99999999999.000 MHz", "tsc: Detected 2093.852"}) {
    EXPECT_FALSE(detected_tsc_khz(log)) << log;
  }
}

}  // namespace
}  // namespace panicroom::agent
