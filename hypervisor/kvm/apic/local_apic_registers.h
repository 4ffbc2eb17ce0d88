// The local APIC's registers and their bits: Intel SDM Vol. 3, chapter 11 "Advanced Programmable Interrupt Controller",
// table 11-1 "Local APIC Register Address Map", and 11.12 for the x2APIC.
#pragma once

#include <cstddef>
#include <cstdint>

namespace panicroom::kvm::apic {

// Offsets in the APIC's page. The x2APIC's MSR for a register is kX2apicMsrs + offset / 16.
inline constexpr std::uint32_t kId = 0x020;
inline constexpr std::uint32_t kVersion = 0x030;
inline constexpr std::uint32_t kTpr = 0x080;  // Task priority.
inline constexpr std::uint32_t kApr = 0x090;  // Arbitration priority: gone since the Pentium 4, reads as 0.
inline constexpr std::uint32_t kPpr = 0x0a0;  // Processor priority.
inline constexpr std::uint32_t kEoi = 0x0b0;
inline constexpr std::uint32_t kRrd = 0x0c0;      // Remote read: gone too.
inline constexpr std::uint32_t kLdr = 0x0d0;      // Logical destination.
inline constexpr std::uint32_t kDfr = 0x0e0;      // Destination format.
inline constexpr std::uint32_t kSvr = 0x0f0;      // Spurious interrupt vector.
inline constexpr std::uint32_t kIsr = 0x100;      // In-service: eight registers of 32 bits, 16 bytes apart.
inline constexpr std::uint32_t kTmr = 0x180;      // Trigger mode.
inline constexpr std::uint32_t kIrr = 0x200;      // Interrupt request.
inline constexpr std::uint32_t kEsr = 0x280;      // Error status.
inline constexpr std::uint32_t kLvtCmci = 0x2f0;  // This APIC has none.
inline constexpr std::uint32_t kIcrLow = 0x300;   // Interrupt command.
inline constexpr std::uint32_t kIcrHigh = 0x310;
inline constexpr std::uint32_t kLvtTimer = 0x320;
inline constexpr std::uint32_t kLvtThermal = 0x330;
inline constexpr std::uint32_t kLvtPerformance = 0x340;
inline constexpr std::uint32_t kLvtLint0 = 0x350;
inline constexpr std::uint32_t kLvtLint1 = 0x360;
inline constexpr std::uint32_t kLvtError = 0x370;
inline constexpr std::uint32_t kInitialCount = 0x380;
inline constexpr std::uint32_t kCurrentCount = 0x390;
inline constexpr std::uint32_t kDivideConfiguration = 0x3e0;
inline constexpr std::uint32_t kSelfIpi = 0x3f0;  // Only in x2APIC mode.

inline constexpr std::uint32_t kPageBytes = 0x1000;
inline constexpr std::uint32_t kRegisterStride = 0x10;

// Model-specific registers.
inline constexpr std::uint32_t kMsrApicBase = 0x1b;
inline constexpr std::uint32_t kMsrTscDeadline = 0x6e0;
inline constexpr std::uint32_t kX2apicMsrs = 0x800;
inline constexpr std::uint32_t kX2apicMsrsEnd = 0x900;  // One past the range that is set aside for them.

// IA32_APIC_BASE: figure 11-26.
inline constexpr std::uint64_t kApicBaseBootstrap = 1U << 8;
inline constexpr std::uint64_t kApicBaseX2apic = 1U << 10;  // EXTD.
inline constexpr std::uint64_t kApicBaseEnable = 1U << 11;  // EN.
inline constexpr std::uint64_t kApicBaseAddress = 0x000f'ffff'ffff'f000;
inline constexpr std::uint64_t kDefaultBase = 0xfee0'0000;

// Version: integrated, with LVT entries 0 to 5 and without suppression of EOI broadcasts (figure 11-7).
inline constexpr std::uint32_t kVersionValue = 0x0005'0014;

inline constexpr unsigned kXapicIdShift = 24;  // Also the destination in ICR's high half, and LDR.
inline constexpr std::uint32_t kLdrWritable = 0xff00'0000;
inline constexpr std::uint32_t kDfrWritable = 0xf000'0000;
inline constexpr std::uint32_t kDfrFlat = 0xf;  // In bits 28 to 31; 0 is the cluster model.

inline constexpr std::uint32_t kSvrEnable = 1U << 8;
inline constexpr std::uint32_t kSvrWritable = 0x3ff;  // With focus processor checking, which has no effect.

// ESR: figure 11-9.
inline constexpr std::uint32_t kEsrSendIllegalVector = 1U << 5;
inline constexpr std::uint32_t kEsrReceiveIllegalVector = 1U << 6;
inline constexpr std::uint32_t kEsrIllegalRegister = 1U << 7;

// Vectors 0 to 15 are the processor's own (11.5.2).
inline constexpr std::uint8_t kFirstLegalVector = 16;

// Fields that ICR and LVT share.
inline constexpr unsigned kDeliveryModeShift = 8;
inline constexpr std::uint32_t kDeliveryModeMask = 7;

// ICR: figure 11-12.
inline constexpr std::uint32_t kIcrLogical = 1U << 11;
inline constexpr std::uint32_t kIcrLevelAssert = 1U << 14;
inline constexpr std::uint32_t kIcrTriggerLevel = 1U << 15;
inline constexpr unsigned kIcrShorthandShift = 18;
// Delivery status (bit 12) reads as 0: idle.
inline constexpr std::uint32_t kIcrLowWritable = 0x000c'cfff;
inline constexpr std::uint32_t kIcrHighWritable = 0xff00'0000;
// Bits 13, 16, 17 and 20 to 31: set in x2APIC mode, #GP.
inline constexpr std::uint64_t kX2apicIcrReserved = 0xfff3'2000;

// LVT: figure 11-8.
inline constexpr std::uint32_t kLvtDeliveryStatus = 1U << 12;  // Read-only, idle.
inline constexpr std::uint32_t kLvtPolarity = 1U << 13;
inline constexpr std::uint32_t kLvtRemoteIrr = 1U << 14;  // Read-only.
inline constexpr std::uint32_t kLvtTriggerLevel = 1U << 15;
inline constexpr std::uint32_t kLvtMasked = 1U << 16;
inline constexpr unsigned kLvtTimerModeShift = 17;
inline constexpr std::uint32_t kLvtTimerWritable = 0x7'00ff;
inline constexpr std::uint32_t kLvtErrorWritable = 0x1'00ff;
inline constexpr std::uint32_t kLvtThermalWritable = 0x1'07ff;  // And performance.
inline constexpr std::uint32_t kLvtLintWritable = 0x1'a7ff;

// Divide configuration: figure 11-10.
inline constexpr std::uint32_t kDivideWritable = 0xb;

}  // namespace panicroom::kvm::apic
