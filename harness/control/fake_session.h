// For tests and fuzz targets: a driver with everything that it is made of, and what it answers.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "harness/control/client_driver.h"
#include "harness/control/fake_machine.h"
#include "kernels/points/kernel_builder.h"

namespace panicroom::control {

struct FakeSession {
  FakeSession() {
    scenario.workload = {"idle", "idle"};
    plan.panic = image().symbols().unique("panic")->address;
    driver = std::make_unique<ClientDriver>(ClientDriverSetup{.machine = machine,
                                                              .kernel = kernel,
                                                              .plan = plan,
                                                              .scenario = scenario,
                                                              .journal = journal,
                                                              .requests = requests,
                                                              .respond = respond,
                                                              .snapshots = snapshots,
                                                              .last_breakpoint = last_breakpoint});
  }

  static const kernels::KernelImage& image() {
    static const auto kImage = kernels::testing::KernelBuilder()
                                   .function("panic", "\x90\xc3")
                                   .function("cpu_relax", "\xf3\x90\xeb\xfc")
                                   .build();
    return kImage;
  }

  FakeMachine machine;
  harness::RunningKernel kernel{image(), KaslrSlide{0x1000000}};
  harness::Plan plan;
  harness::Scenario scenario;
  v1::Run run;
  harness::Journal journal{run, {}};
  RequestQueue requests;
  std::vector<v1::ControlResponse> responses;
  ResponseSink respond = [this](v1::ControlResponse response) {
    responses.push_back(std::move(response));
    return Result<>();
  };
  std::set<std::string> snapshots;
  std::uint32_t last_breakpoint = 0;
  std::unique_ptr<ClientDriver> driver;
};

}  // namespace panicroom::control
