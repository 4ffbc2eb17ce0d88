# The smallest guest: its first instruction tells that it runs. As an ELF64 for panicroom's engine; with ROM defined, as
# the firmware of QEMU's microvm, entered at the reset vector.
    .section .text
#ifdef ROM
    .code16
    .globl _start
_start:
    .fill 0xfff0, 1, 0x90
    outb %al, $0xf4
1:  jmp 1b
    .fill 0x10000 - (. - _start), 1, 0x90
#else
    .code64
    .globl _start
_start:
    outb %al, $0xf4
1:  jmp 1b
#endif
