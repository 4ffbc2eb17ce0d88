// What the host says about itself, without measuring: its name, CPUs, memory, and the programs and libraries around
// QEMU.
#pragma once

#include "harness/doctor/findings.h"

namespace panicroom::harness {

// Everything in findings but the probes of the engines.
void read_host_facts(HostFindings& findings);

// The first "model name" in the text of /proc/cpuinfo; empty if it has none.
std::string cpu_model_in(std::string_view cpuinfo);

// "9.0.0" from libvirt's number: major * 1,000,000 + minor * 1,000 + release (virGetVersion's documentation).
std::string libvirt_version(unsigned long number);

}  // namespace panicroom::harness
