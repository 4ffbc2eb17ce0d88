// Ctrl-C and its like: tells every machine that runs to stop, so that each ends its guest in the ordinary way.
#pragma once

#include <atomic>
#include <mutex>
#include <set>

#include "hypervisor/machine.h"

namespace panicroom::harness {

// Thread-safe.
class Cancellation {
 public:
  [[nodiscard]] bool requested() const { return requested_; }
  void request();

  // Keeps a machine known for as long as it may have to be cancelled.
  class Attachment {
   public:
    Attachment(Cancellation& cancellation, hypervisor::Machine& machine);
    ~Attachment();
    Attachment(const Attachment&) = delete;
    Attachment& operator=(const Attachment&) = delete;

   private:
    Cancellation& cancellation_;
    hypervisor::Machine& machine_;
  };

 private:
  std::atomic<bool> requested_ = false;
  std::mutex mutex_;
  std::set<hypervisor::Machine*> machines_;
};

}  // namespace panicroom::harness
