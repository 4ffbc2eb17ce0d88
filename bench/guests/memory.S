# Writes to each page from 64 MiB to 480 MiB (above, QEMU's firmware has the rings of its disk), says so through the agent port, and goes on.
#include "hypervisor/conformance/start.inc"

    .text
    .code64
boot_cpu:
    movl $0x4000000, %ebx
1:  movq %rbx, (%rbx)
    addl $4096, %ebx
    cmpl $0x1e000000, %ebx
    jb 1b
    movw $0x402, %dx
    movb $'!', %al
    outb %al, %dx
other_cpu:
    pause
    jmp other_cpu
vectors:
    .fill 256 * 16, 1, 0xf4
    .data
guest_end:
