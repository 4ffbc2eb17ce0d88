// What panicroom_dump_facts (dump_facts.cc) says of a dump. It has read a guest's file, so it may say anything.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/protocol/agent.pb.h"
#include "base/result.h"

namespace panicroom::harness {

struct DumpFacts {
  std::string format;
  std::string release;
  std::vector<agent::v1::Prstatus> cpus;  // Those with registers, in the order of the dump.
  // The checksums of each page that was asked for; nothing where the dump does not have it.
  std::vector<std::optional<std::vector<std::uint32_t>>> pages;
};

// kInvalidInput if it is not what dump_facts.cc writes, or is about another number of pages.
Result<DumpFacts> parse_dump_facts(std::string_view text, std::size_t pages);

}  // namespace panicroom::harness
