// The engine `qemu`, for tests.
#pragma once

#include <filesystem>

#include "hypervisor/conformance/engine.h"
#include "hypervisor/conformance/test_guest.h"
#include "hypervisor/qemu/qemu_machine.h"

namespace panicroom::qemu {

// Whatever `options` name as their state directory, it is test_state_directory().
hypervisor::Engine engine_for_test(QemuOptions options = {});

// Where the machines of this test program keep their state; removed at its end.
const std::filesystem::path& test_state_directory();

// QEMU's process, of a guest on such an engine.
pid_t process_of(hypervisor::TestGuest& guest);

}  // namespace panicroom::qemu
