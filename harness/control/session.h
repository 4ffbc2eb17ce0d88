// A session of interactive control: one machine, from the request that opens it to the end of the requests.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "harness/control/client_driver.h"
#include "harness/control/request_queue.h"
#include "harness/session/cancellation.h"
#include "harness/session/engine.h"
#include "harness/session/kernel_lease.h"
#include "kernels/image/kernel_image.h"

namespace panicroom::control {

struct SessionOptions {
  // By its reference; empty: the default.
  std::function<Result<std::shared_ptr<const kernels::KernelImage>>(const std::string& reference,
                                                                    const harness::StageSink& on_stage)>
      load_kernel;
  // By the word for it: see harness::make_engine().
  std::function<Result<harness::Engine>(const std::string& wanted)> make_engine;
  std::filesystem::path directory;  // Where the machine keeps its files.
  std::filesystem::path logs;       // Of its boot. A folder that is there.
};

// Answers requests until the queue is closed, which is no error: the guest is ended then, and so it is after an error.
// An error is why there is no machine any more; the response to the request that was being carried out, if there was
// one, is missing. `respond` is called by this thread alone. Cancelling has to come with the queue's end: it is for a
// machine that boots.
Result<> run_session(const SessionOptions& options, RequestQueue& requests, const ResponseSink& respond,
                     harness::Cancellation& cancellation);

}  // namespace panicroom::control
