#include "harness/director/capture_console.h"

#include <gtest/gtest.h>

namespace panicroom::harness {
namespace {

TEST(CaptureConsole, WhatTheFirstKernelSaysDoesNotCount) {
  CaptureConsole console;
  console.feed("Linux version 6.1\nKernel panic - not syncing: first\n");
  EXPECT_FALSE(console.entered());
  EXPECT_FALSE(console.panicked());
}

TEST(CaptureConsole, LinesMayComeInPieces) {
  CaptureConsole console;
  console.begin();
  console.feed("[    0.0] Linux ver");
  EXPECT_FALSE(console.entered());
  console.feed("sion 6.1.0 (x)\r\n[    0.1] nex");
  EXPECT_TRUE(console.entered());
  EXPECT_EQ(console.last_line(), "[    0.0] Linux version 6.1.0 (x)");
}

TEST(CaptureConsole, TheLastWordsOfTheFirstKernelMayComeLate) {
  CaptureConsole console;
  console.begin();
  console.feed("Kernel panic - not syncing: first\n[    0.0] Linux version 6.1.0\n");
  EXPECT_TRUE(console.entered());
  EXPECT_FALSE(console.panicked());
}

TEST(CaptureConsole, TheFirstPanicLineIsKept) {
  CaptureConsole console;
  console.begin();
  console.feed(
      "[    0.0] Linux version 6.1.0\nKernel panic - not syncing: no memory\n---[ end Kernel panic - not syncing: no "
      "memory ]---\nx\n");
  EXPECT_TRUE(console.panicked());
  EXPECT_EQ(console.panic_line(), "Kernel panic - not syncing: no memory");
  EXPECT_EQ(console.last_line(), "x");
}

TEST(CaptureConsole, AnEndlessLineIsCut) {
  CaptureConsole console;
  console.begin();
  for (int i = 0; i < 1000; ++i) console.feed(std::string(1000, 'x'));
  console.feed("\n");
  EXPECT_EQ(console.last_line().size(), 512u);
}

}  // namespace
}  // namespace panicroom::harness
