#include "hypervisor/kvm/memory/guest_memory.h"

#include <gmock/gmock.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace panicroom::kvm {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

GuestMemory memory_of(std::uint64_t bytes) {
  auto memory = GuestMemory::create(bytes);
  EXPECT_TRUE(memory) << memory.error().message();
  return *std::move(memory);
}

void put(GuestMemory& memory, std::uint64_t at, const std::string& text) {
  const auto done = memory.write(Gpa{at}, as_bytes(text));
  ASSERT_TRUE(done) << done.error().message();
}

std::string get(const GuestMemory& memory, std::uint64_t at, std::size_t bytes) {
  std::string text(bytes, '?');
  const auto done = memory.read(Gpa{at}, std::as_writable_bytes(std::span(text)));
  return done ? text : done.error().message();
}

std::shared_ptr<const MemoryImage> freeze(GuestMemory& memory) {
  auto image = memory.freeze();
  EXPECT_TRUE(image) << image.error().message();
  return image ? *image : nullptr;
}

void restore(GuestMemory& memory, const std::shared_ptr<const MemoryImage>& image) {
  const auto done = memory.restore(image);
  ASSERT_TRUE(done) << done.error().message();
}

// How many pages of a slot are in the host's memory, whoever's they are.
std::size_t resident_pages(const GuestMemory::Slot& slot) {
  std::vector<unsigned char> pages(slot.size / kPageBytes);
  EXPECT_EQ(::mincore(slot.host, slot.size, pages.data()), 0);
  return static_cast<std::size_t>(std::count_if(pages.begin(), pages.end(), [](auto page) { return (page & 1) != 0; }));
}

std::size_t open_files() {
  const std::filesystem::directory_iterator files("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(files), end(files)));
}

// Of guests' memory: others come and go as the allocator likes.
std::size_t mappings() {
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.find("panicroom-guest") != std::string::npos) ++count;
  }
  return count;
}

// Of addresses that nothing can be read or written at.
std::uint64_t reserved_bytes() {
  std::ifstream maps("/proc/self/maps");
  std::uint64_t bytes = 0;
  for (std::string line; std::getline(maps, line);) {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    char dash = '\0';
    std::string access;
    std::istringstream(line) >> std::hex >> begin >> dash >> end >> access;
    if (access == "---p") bytes += end - begin;
  }
  return bytes;
}

TEST(GuestMemoryTest, IsOneSlotUpToThreeGibibytes) {
  const auto memory = memory_of(3 * kGiB);
  ASSERT_EQ(memory.slots().size(), 1U);
  EXPECT_EQ(memory.slots()[0].begin, Gpa{0});
  EXPECT_EQ(memory.slots()[0].size, 3 * kGiB);
  EXPECT_EQ(memory.size(), 3 * kGiB);
}

TEST(GuestMemoryTest, HasTheRestAboveFourGibibytes) {
  auto memory = memory_of(3 * kGiB + 2 * kMiB);
  ASSERT_EQ(memory.slots().size(), 2U);
  EXPECT_EQ(memory.slots()[0].size, 3 * kGiB);
  EXPECT_EQ(memory.slots()[1].begin, Gpa{4 * kGiB});
  EXPECT_EQ(memory.slots()[1].size, 2 * kMiB);
  put(memory, 3 * kGiB - 4, "last");
  put(memory, 4 * kGiB, "high");
  EXPECT_EQ(get(memory, 3 * kGiB - 4, 4), "last");
  EXPECT_EQ(get(memory, 4 * kGiB, 4), "high");
  EXPECT_EQ(std::memcmp(memory.slots()[1].host, "high", 4), 0);
  EXPECT_FALSE(memory.write(Gpa{3 * kGiB - 3}, as_bytes("last")));
  EXPECT_FALSE(memory.at(Gpa{3 * kGiB - 3}, kGiB + 4));
}

TEST(GuestMemoryTest, LiesOnHugePageBoundariesOfTheHost) {
  const auto reserved = reserved_bytes();
  for (int i = 0; i < 100; ++i) {
    for (const std::uint64_t bytes : {kPageBytes, 5 * kMiB + kPageBytes}) {
      const auto memory = memory_of(bytes);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.slots()[0].host) % (2 * kMiB), 0U);
    }
  }
  // What was mapped to find such addresses is given back; the rest is the allocator's.
  EXPECT_LT(reserved_bytes(), reserved + 16 * kMiB);
}

TEST(GuestMemoryTest, RefusesImpossibleSizes) {
  for (const std::uint64_t bytes : {std::uint64_t{0}, std::uint64_t{4095}, kMiB + 1}) {
    const auto memory = GuestMemory::create(bytes);
    ASSERT_FALSE(memory) << bytes;
    EXPECT_EQ(memory.error().kind(), ErrorKind::kInvalidInput);
  }
  for (const std::uint64_t bytes : {std::uint64_t{1} << 60, ~std::uint64_t{4095}}) {
    const auto memory = GuestMemory::create(bytes);
    ASSERT_FALSE(memory) << bytes;
    EXPECT_EQ(memory.error().kind(), ErrorKind::kHost);
  }
}

TEST(GuestMemoryTest, IsAllZeroAndCostsNothingAtFirst) {
  const auto memory = memory_of(64 * kMiB);
  EXPECT_EQ(resident_pages(memory.slots()[0]), 0U);
  EXPECT_EQ(get(memory, 5 * kMiB, 3), std::string(3, '\0'));
}

TEST(GuestMemoryTest, ChecksTheBoundsOfEveryAccess) {
  auto memory = memory_of(kMiB);
  std::array<std::byte, 8> bytes{};
  EXPECT_TRUE(memory.read(Gpa{kMiB - 8}, bytes));
  for (const std::uint64_t at : {kMiB - 7, kMiB, 4 * kGiB, ~std::uint64_t{0}, ~std::uint64_t{7}}) {
    const auto read = memory.read(Gpa{at}, bytes);
    ASSERT_FALSE(read) << at;
    EXPECT_EQ(read.error().kind(), ErrorKind::kInvalidInput);
    EXPECT_THAT(read.error().message(), HasSubstr(fmt::format("{:#018x}", at)));
    EXPECT_EQ(memory.write(Gpa{at}, bytes).error().kind(), ErrorKind::kInvalidInput);
    EXPECT_EQ(memory.at(Gpa{at}, 8).error().kind(), ErrorKind::kInvalidInput);
  }
  EXPECT_FALSE(memory.at(Gpa{8}, ~std::uint64_t{0}));
  EXPECT_TRUE(memory.read(Gpa{~std::uint64_t{0}}, {}));
  const auto all = memory.at(Gpa{0}, kMiB);
  ASSERT_TRUE(all);
  EXPECT_EQ(all->size(), kMiB);
}

TEST(GuestMemoryTest, MovesWithItsContent) {
  auto memory = memory_of(kMiB);
  put(memory, 100, "moved");
  const std::byte* const host = memory.slots()[0].host;
  GuestMemory other = std::move(memory);
  EXPECT_EQ(other.slots()[0].host, host);
  auto third = memory_of(2 * kMiB);
  third = std::move(other);
  EXPECT_EQ(third.size(), kMiB);
  EXPECT_EQ(get(third, 100, 5), "moved");
}

TEST(GuestMemoryTest, GivesEverythingBackWhenItEnds) {
  const auto files = open_files();
  GuestMemory::Slot slot;
  {
    auto memory = memory_of(4 * kGiB);
    put(memory, 0, "x");
    const auto image = freeze(memory);
    auto moved = std::move(memory);
    slot = moved.slots()[0];
    EXPECT_EQ(open_files(), files + 1);
    EXPECT_GE(mappings(), 1U);
  }
  EXPECT_EQ(open_files(), files);
  EXPECT_EQ(mappings(), 0U);
  std::vector<unsigned char> pages(slot.size / kPageBytes);
  EXPECT_EQ(::mincore(slot.host, slot.size, pages.data()), -1);
}

TEST(MemoryImageTest, KeepsWhatWasFrozenWhileRamChanges) {
  auto memory = memory_of(kMiB);
  put(memory, 0x1000, "before");
  const std::byte* const host = memory.slots()[0].host;
  const auto image = freeze(memory);
  EXPECT_EQ(get(memory, 0x1000, 6), "before");
  put(memory, 0x1000, "after!");
  put(memory, 0x5000, "new");
  EXPECT_EQ(get(memory, 0x1000, 6), "after!");
  restore(memory, image);
  EXPECT_EQ(get(memory, 0x1000, 6), "before");
  EXPECT_EQ(get(memory, 0x5000, 3), std::string(3, '\0'));
  EXPECT_EQ(memory.slots()[0].host, host);
}

TEST(MemoryImageTest, TheFirstFreezeCopiesNothing) {
  auto memory = memory_of(64 * kMiB);
  put(memory, 0x1000, "x");
  const auto image = freeze(memory);
  EXPECT_EQ(resident_pages(memory.slots()[0]), 1U);
}

TEST(MemoryImageTest, ALaterFreezeTakesOnlyWhatIsNotZero) {
  auto memory = memory_of(64 * kMiB);
  put(memory, 0x1000, "first");
  put(memory, 0x9000, "to become zero");
  const auto first = freeze(memory);
  put(memory, 0x9000, std::string(14, '\0'));
  put(memory, 0x20'0000 - 3, "across a chunk's end");
  put(memory, 64 * kMiB - 4, "last");
  const auto second = freeze(memory);
  EXPECT_EQ(resident_pages(memory.slots()[0]), 4U);
  EXPECT_EQ(get(memory, 0x1000, 5), "first");
  EXPECT_EQ(get(memory, 0x9000, 14), std::string(14, '\0'));
  EXPECT_EQ(get(memory, 0x20'0000 - 3, 20), "across a chunk's end");
  EXPECT_EQ(get(memory, 64 * kMiB - 4, 4), "last");
  restore(memory, first);
  if (std::filesystem::exists("/proc/self/pagemap")) {
    EXPECT_LE(resident_pages(memory.slots()[0]), 5U) << "the copy touched what was not there";
  }
  EXPECT_EQ(get(memory, 0x9000, 14), "to become zero");
}

TEST(MemoryImageTest, ThereMayBeSeveralInAnyOrder) {
  auto memory = memory_of(3 * kGiB + kMiB);
  std::vector<std::shared_ptr<const MemoryImage>> images;
  for (int i = 0; i < 5; ++i) {
    put(memory, 0x3000, fmt::format("image {}", i));
    put(memory, 4 * kGiB + static_cast<std::uint64_t>(i) * kPageBytes, fmt::format("high {}", i));
    images.push_back(freeze(memory));
  }
  for (const int i : {3, 0, 4, 1, 2, 2}) {
    restore(memory, images[static_cast<std::size_t>(i)]);
    EXPECT_EQ(get(memory, 0x3000, 7), fmt::format("image {}", i));
    for (int j = 0; j < 5; ++j) {
      EXPECT_EQ(get(memory, 4 * kGiB + static_cast<std::uint64_t>(j) * kPageBytes, 6),
                j <= i ? fmt::format("high {}", j) : std::string(6, '\0'));
    }
    put(memory, 0x3000, "spoiled");
  }
  // One that is taken from a restored one, and outlives it.
  put(memory, 0x3000, "branch!");
  const auto branch = freeze(memory);
  images.clear();
  put(memory, 0x3000, "spoiled");
  restore(memory, branch);
  EXPECT_EQ(get(memory, 0x3000, 7), "branch!");
  EXPECT_EQ(get(memory, 4 * kGiB + 2 * kPageBytes, 6), "high 2");
}

TEST(MemoryImageTest, ServesSeveralMachines) {
  auto memory = memory_of(kMiB);
  put(memory, 0, "common");
  const auto image = freeze(memory);
  auto other = memory_of(kMiB);
  restore(other, image);
  put(other, 0, "theirs");
  EXPECT_EQ(get(memory, 0, 6), "common");
  restore(other, image);
  EXPECT_EQ(get(other, 0, 6), "common");
  // What is frozen there holds what came from here.
  put(other, 0x2000, "more");
  const auto both = freeze(other);
  restore(memory, both);
  EXPECT_EQ(get(memory, 0, 6), "common");
  EXPECT_EQ(get(memory, 0x2000, 4), "more");
}

TEST(MemoryImageTest, OfAnotherSizeIsRefused) {
  auto memory = memory_of(kMiB);
  auto other = memory_of(2 * kMiB);
  put(other, 0, "mine");
  const auto done = other.restore(freeze(memory));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().kind(), ErrorKind::kInvalidInput);
  EXPECT_EQ(get(other, 0, 4), "mine");
}

TEST(MemoryImageTest, AThousandRestoresLeaveNothingBehind) {
  auto memory = memory_of(16 * kMiB);
  put(memory, 0, "frozen");
  const auto image = freeze(memory);
  const auto files = open_files();
  const auto maps = mappings();
  for (int i = 0; i < 1000; ++i) {
    for (std::uint64_t at = 0; at < 16; ++at) put(memory, at * kPageBytes, "thawed");
    restore(memory, image);
  }
  EXPECT_EQ(open_files(), files);
  EXPECT_EQ(mappings(), maps);
  EXPECT_EQ(get(memory, 0, 6), "frozen");
}

}  // namespace
}  // namespace panicroom::kvm
