#include "hypervisor/rsp/register_layout.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <pugixml.hpp>
#include <set>

#include "hypervisor/rsp/packet.h"

namespace panicroom::rsp {
namespace {

using hypervisor::Registers;

// Far above QEMU's (one inclusion, some 70 registers), far below what would cost.
constexpr std::size_t kMaxInclusions = 16;
constexpr std::size_t kMaxRegisters = 1024;
constexpr unsigned kMaxRegisterNumber = 4096;
constexpr unsigned kMaxRegisterBits = 4096;

struct Field {
  std::uint64_t Registers::*member;
  std::string_view name;  // In the target description.
};

// In the order in which they have to be written: a selector is looked up in a table that the control registers say how
// to find, loading it changes the base, and how wide a general register is depends on the mode.
constexpr std::array kFields = std::to_array<Field>({
    {&Registers::cr0, "cr0"},         {&Registers::cr4, "cr4"},         {&Registers::cr3, "cr3"},
    {&Registers::efer, "efer"},       {&Registers::cr2, "cr2"},         {&Registers::cr8, "cr8"},
    {&Registers::cs, "cs"},           {&Registers::ss, "ss"},           {&Registers::ds, "ds"},
    {&Registers::es, "es"},           {&Registers::fs, "fs"},           {&Registers::gs, "gs"},
    {&Registers::fs_base, "fs_base"}, {&Registers::gs_base, "gs_base"}, {&Registers::kernel_gs_base, "k_gs_base"},
    {&Registers::rax, "rax"},         {&Registers::rbx, "rbx"},         {&Registers::rcx, "rcx"},
    {&Registers::rdx, "rdx"},         {&Registers::rsi, "rsi"},         {&Registers::rdi, "rdi"},
    {&Registers::rbp, "rbp"},         {&Registers::rsp, "rsp"},         {&Registers::r8, "r8"},
    {&Registers::r9, "r9"},           {&Registers::r10, "r10"},         {&Registers::r11, "r11"},
    {&Registers::r12, "r12"},         {&Registers::r13, "r13"},         {&Registers::r14, "r14"},
    {&Registers::r15, "r15"},         {&Registers::rip, "rip"},         {&Registers::rflags, "eflags"},
});
static_assert(sizeof(Registers) == kFields.size() * sizeof(std::uint64_t), "a register has no field in the table");

// Collects registers over a target description and its inclusions.
class Collector {
 public:
  explicit Collector(const FetchAnnex& fetch) : fetch_(fetch) {}

  Result<> add_document(std::string_view name, std::string_view text, bool may_include) {
    pugi::xml_document document;
    const auto parsed = document.load_buffer(text.data(), text.size(), pugi::parse_default, pugi::encoding_utf8);
    if (!parsed) {
      return host_error("the gdbstub's {} is not XML: {} at byte {}", printable(name), parsed.description(),
                        parsed.offset);
    }
    const auto root = document.document_element();
    if (std::string_view(root.name()) == "feature") return add_feature(root);
    if (std::string_view(root.name()) != "target") {
      return host_error("the gdbstub's {} describes <{}>, not a target", printable(name), printable(root.name()));
    }
    for (const auto child : root.children()) {
      const std::string_view tag = child.name();
      if (tag == "feature") TRY(add_feature(child));
      if (tag == "xi:include") TRY(include(child, may_include));
    }
    return {};
  }

  Result<std::vector<RegisterSlot>> finish() {
    std::sort(slots_.begin(), slots_.end(), [](const auto& a, const auto& b) { return a.number < b.number; });
    std::size_t offset = 0;
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (i > 0 && slots_[i].number == slots_[i - 1].number) {
        return host_error("the gdbstub's registers \"{}\" and \"{}\" have the same number", printable(slots_[i].name),
                          printable(slots_[i - 1].name));
      }
      slots_[i].offset = offset;
      offset += slots_[i].size;
    }
    return std::move(slots_);
  }

 private:
  Result<> include(const pugi::xml_node& node, bool may_include) {
    const std::string_view annex = node.attribute("href").value();
    if (annex.empty() || annex.size() > 128 || annex.find_first_of(":,#$}*") != std::string_view::npos) {
      return host_error("the gdbstub's target description includes a file of the name \"{}\"", printable(annex));
    }
    if (!may_include || ++inclusions_ > kMaxInclusions) {
      return host_error("the gdbstub's target description includes too much, last \"{}\"", printable(annex));
    }
    const auto text = TRY(fetch_(annex));
    return add_document(annex, text, /*may_include=*/false);
  }

  Result<> add_feature(const pugi::xml_node& feature) {
    for (const auto node : feature.children("reg")) {
      RegisterSlot slot;
      slot.name = node.attribute("name").value();
      const auto bits = node.attribute("bitsize").as_uint();
      const auto number = node.attribute("regnum").as_uint(next_number_);
      if (slot.name.empty() || bits == 0 || bits % 8 != 0 || bits > kMaxRegisterBits || number > kMaxRegisterNumber) {
        return host_error("the gdbstub describes register \"{}\" with {} bits and number {}", printable(slot.name),
                          bits, number);
      }
      if (slots_.size() == kMaxRegisters) return host_error("the gdbstub describes too many registers");
      if (!names_.insert(slot.name).second) {
        return host_error("the gdbstub describes register \"{}\" twice", printable(slot.name));
      }
      slot.number = number;
      slot.size = bits / 8;
      next_number_ = number + 1;
      slots_.push_back(std::move(slot));
    }
    return {};
  }

  const FetchAnnex& fetch_;
  std::vector<RegisterSlot> slots_;
  std::set<std::string> names_;
  std::size_t inclusions_ = 0;
  unsigned next_number_ = 0;
};

}  // namespace

Result<std::vector<RegisterSlot>> parse_target_description(std::string_view target_xml, const FetchAnnex& fetch) {
  Collector collector(fetch);
  TRY(collector.add_document("target.xml", target_xml, /*may_include=*/true));
  return collector.finish();
}

Result<RegisterLayout> RegisterLayout::create(const std::vector<RegisterSlot>& slots) {
  RegisterLayout layout;
  layout.slots_.reserve(kFields.size());
  for (const auto& field : kFields) {
    const auto slot = std::find_if(slots.begin(), slots.end(), [&](const auto& s) { return s.name == field.name; });
    if (slot == slots.end()) {
      return host_error("the gdbstub has no register \"{}\": it must be that of qemu-system-x86_64", field.name);
    }
    if (slot->size < 1 || slot->size > sizeof(std::uint64_t)) {
      return host_error("the gdbstub's register \"{}\" is {} bytes wide", field.name, slot->size);
    }
    layout.slots_.push_back(*slot);
  }
  return layout;
}

Result<Registers> RegisterLayout::unpack(Bytes g_reply) const {
  Registers registers;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const auto bytes = slice(g_reply, slots_[i].offset, slots_[i].size);
    if (!bytes) {
      return host_error("the gdbstub's registers end at byte {}, before \"{}\"", g_reply.size(), slots_[i].name);
    }
    std::memcpy(&(registers.*kFields[i].member), bytes->data(), bytes->size());
  }
  return registers;
}

Result<std::vector<RegisterLayout::Change>> RegisterLayout::changes(const Registers& from, const Registers& to) const {
  std::vector<Change> changes;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const auto value = to.*kFields[i].member;
    if (value == from.*kFields[i].member) continue;
    const auto size = slots_[i].size;
    if (size < sizeof(value) && value >> (8 * size) != 0) {
      return host_error("{:#x} does not fit into register {}, which has {} bytes", value, kFields[i].name, size);
    }
    std::vector<std::byte> bytes(size);
    std::memcpy(bytes.data(), &value, size);
    changes.push_back({kFields[i].name, slots_[i].number, std::move(bytes)});
  }
  return changes;
}

}  // namespace panicroom::rsp
