// Progress that is also written into a run's journal, so that whoever watches the run from elsewhere sees it.
#pragma once

#include <memory>

#include "harness/events/run_journal.h"
#include "harness/report/progress.h"

namespace panicroom::harness {

// Hands everything on to `shown`. Both must outlive it.
std::unique_ptr<Progress> make_journalled_progress(Progress& shown, RunJournal& journal);

}  // namespace panicroom::harness
