// The agent's messages as lines of text, for agent.log.
#pragma once

#include <string>

#include "agent/protocol/agent.pb.h"

namespace panicroom::harness {

// One line, without its end; control characters of the guest's text are escaped.
std::string describe(const agent::v1::Message& message);

}  // namespace panicroom::harness
