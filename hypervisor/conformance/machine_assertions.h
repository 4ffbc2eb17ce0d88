// Assertions of the tests that drive a machine.
#pragma once

#include <gtest/gtest.h>

#include "hypervisor/conformance/test_guest.h"

#define ASSERT_OK(expression)                              \
  do {                                                     \
    const auto& ok_result = (expression);                  \
    ASSERT_TRUE(ok_result) << ok_result.error().message(); \
  } while (false)
#define ASSERT_EVENT(Type, event) \
  ASSERT_TRUE(std::holds_alternative<Type>(event)) << ::panicroom::hypervisor::describe(event)
