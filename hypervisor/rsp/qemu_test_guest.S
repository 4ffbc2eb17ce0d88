// The firmware image that client_qemu_test.cc runs: 64 KiB at the end of the first megabyte, as -bios takes it. Both vCPUs
// enter 64-bit mode and count in a loop, each in its own cache line of memory; vCPU 0 starts vCPU 1. Every table is in ROM
// with its accessed and dirty bits set, so nothing has to be written before it works. Assembled into the test as data.
// References: Intel SDM Vol. 3A, 9.1.4 (first instruction), 9.8.5 (entering IA-32e mode), 4.5 (paging), 10.6.1 (ICR).

#define BASE 0xf0000
#define OFFSET(label) (label - qemu_test_guest)
#define ADDRESS(label) (BASE + OFFSET(label))
// Present, writable, accessed, dirty; and for a 2 MiB page.
#define TABLE 0x63
#define LARGE 0xe3
#define LAPIC 0xfee00000

        .section .rodata
        .balign 4096
        .globl qemu_test_guest
        .globl qemu_test_guest_loop, qemu_test_guest_counted, qemu_test_guest_back
        .globl qemu_test_guest_park, qemu_test_guest_entry64, qemu_test_guest_end
qemu_test_guest:
        .code16
// A startup IPI of vector 0xf0 begins here too: CS = 0xf000, IP = 0.
        cli
        lgdtl   %cs:OFFSET(gdt_pointer)
        movl    %cr4, %eax
        orl     $0x220, %eax                    // PAE, OSFXSR
        movl    %eax, %cr4
        movl    $ADDRESS(pml4), %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx               // IA32_EFER
        rdmsr
        orl     $0x100, %eax                    // LME
        wrmsr
        movl    %cr0, %eax
        andl    $0xfffffffb, %eax               // not EM
        orl     $0x80000003, %eax               // PG, MP, PE
        movl    %eax, %cr0
        ljmpl   $8, $ADDRESS(qemu_test_guest_entry64)

        .code64
qemu_test_guest_entry64:
        movl    $16, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    $LAPIC + 0x20, %edi
        movl    (%rdi), %r15d                   // The local APIC's number, 0 or 1.
        shrl    $24, %r15d
        movl    %r15d, %ebx
        shll    $6, %ebx
        addl    $0x8000, %ebx                   // The counter: 0x8000 + 64 * number.
        leaq    0x1000(%rbx), %rsp
        movabsq $0x1122334455667788, %rax
        movq    %rax, %xmm7
        movabsq $0x0123456789abcdef, %r14
        testl   %r15d, %r15d
        jnz     qemu_test_guest_loop
        movl    $LAPIC + 0x310, %edi
        movl    $1 << 24, (%rdi)                // To vCPU 1, ...
        movl    $LAPIC + 0x300, %edi
        movl    $0x46f0, (%rdi)                 // ...a startup IPI.
qemu_test_guest_loop:
        incq    (%rbx)
qemu_test_guest_counted:
        movq    %xmm7, 8(%rbx)
qemu_test_guest_back:
        jmp     qemu_test_guest_loop

// Nobody comes here but by a written RIP.
qemu_test_guest_park:
        hlt
        jmp     qemu_test_guest_park

        .balign 8
gdt:
        .quad   0
        .quad   0x00af9b000000ffff              // 8: 64-bit code, accessed
        .quad   0x00cf93000000ffff              // 16: data, accessed
gdt_pointer:
        .word   23
        .long   ADDRESS(gdt)

        .balign 4096
pml4:   .quad   ADDRESS(pdpt) + TABLE
        .balign 4096
pdpt:   .quad   ADDRESS(low) + TABLE, 0, 0, ADDRESS(high) + TABLE
        .balign 4096
low:    .quad   0x000000 + LARGE                // Virtual 0 is physical 0,
        .quad   0x400000 + LARGE                // virtual 2 MiB is physical 4 MiB, and nothing is at virtual 4 MiB.
        .balign 4096
high:   .fill   (LAPIC & 0x3fffffff) >> 21, 8, 0
        .quad   LAPIC + LARGE

        .org    OFFSET(qemu_test_guest) + 0xfff0, 0
        .code16
        .byte   0xea                            // ljmp 0xf000:0
        .word   0, 0xf000
        .org    OFFSET(qemu_test_guest) + 0x10000, 0
qemu_test_guest_end:

        .section .note.GNU-stack, "", @progbits
