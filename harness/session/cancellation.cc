#include "harness/session/cancellation.h"

namespace panicroom::harness {

void Cancellation::request() {
  const std::lock_guard lock(mutex_);
  requested_ = true;
  for (hypervisor::Machine* machine : machines_) machine->cancel();
}

Cancellation::Attachment::Attachment(Cancellation& cancellation, hypervisor::Machine& machine)
    : cancellation_(cancellation), machine_(machine) {
  const std::lock_guard lock(cancellation_.mutex_);
  cancellation_.machines_.insert(&machine_);
  if (cancellation_.requested_) machine_.cancel();
}

Cancellation::Attachment::~Attachment() {
  const std::lock_guard lock(cancellation_.mutex_);
  cancellation_.machines_.erase(&machine_);
}

}  // namespace panicroom::harness
