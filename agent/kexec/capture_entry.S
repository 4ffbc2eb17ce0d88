// What runs between the kernel that crashed and its capture kernel: the purgatory of a kernel that kexec_load() has
// loaded. It does what the 64-bit boot protocol asks for (Documentation/arch/x86/boot.rst): GDT with the flat segments
// 0x10 and 0x18 in use, interrupts off, RSI at the boot_params. Unlike the kernel's own purgatory it checks no digest.
//
// relocate_kernel() jumps to its first byte with physical addresses mapped one to one and a GDT that is gone. It lies at
// the beginning of a page of its own, wherever that is; the page's end is its stack.
        .section .rodata.panicroom_capture_entry, "a", @progbits
        .code64
        .balign 16
        .global panicroom_capture_entry_begin
        .hidden panicroom_capture_entry_begin
panicroom_capture_entry_begin:
        cli
        cld
        leaq    panicroom_capture_entry_begin+4096(%rip), %rsp
        leaq    gdt(%rip), %rax
        movq    %rax, gdt_base(%rip)
        lgdt    gdt_limit(%rip)
        movl    $0x18, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        xorl    %eax, %eax
        movl    %eax, %fs
        movl    %eax, %gs
        pushq   $0x10
        leaq    1f(%rip), %rax
        pushq   %rax
        lretq
1:      movq    boot_params(%rip), %rsi
        xorl    %ebx, %ebx
        xorl    %ebp, %ebp
        xorl    %edi, %edi
        jmpq    *entry(%rip)

        .balign 16
gdt:    .quad   0
        .quad   0
        .quad   0x00af9b000000ffff              // 0x10: 64-bit code
        .quad   0x00cf93000000ffff              // 0x18: data
        .balign 4
        .word   0
gdt_limit:
        .word   31
gdt_base:
        .quad   0

        // What the agent fills in.
        .balign 8
        .global panicroom_capture_entry_words
        .hidden panicroom_capture_entry_words
panicroom_capture_entry_words:
boot_params:
        .quad   0
entry:  .quad   0
        .global panicroom_capture_entry_end
        .hidden panicroom_capture_entry_end
panicroom_capture_entry_end:

        .section .note.GNU-stack, "", @progbits
