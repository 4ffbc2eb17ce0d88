// Saves the dump as a distribution's capture environment does: makedumpfile reads /proc/vmcore. What it writes goes to
// the host, part by part.
#pragma once

#include "agent/guest/channel.h"

namespace panicroom::agent {

// Runs makedumpfile (kMakedumpfilePath) with that dump level (-d), sends a DumpPart for each part and DumpSaved at its
// end, whatever that is. Fails if nothing can be lent to the host.
Outcome<> save_dump(Channel& channel, unsigned level);

}  // namespace panicroom::agent
