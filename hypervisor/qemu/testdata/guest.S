# The guest of the tests of QemuMachine: long mode on every vCPU, a loop that counts and obeys commands, and nothing else.
# Started as a multiboot kernel (Multiboot Specification 0.6.96, 3.1). RBX is the vCPU's number throughout.
    .set APIC, 0xffffffffff5fd000       # Where Linux maps its local APIC, see page tables below.
    .set FAULT_PAGE, 0xffffffffff5fe000 # Not mapped until the page fault handler maps it.
    .set LAST_VCPU, 7

    .section .text
    .code32
    .align 4
    .long 0x1badb002, 0, -0x1badb002
    .globl _start
_start:
    cli
    lgdtl gdt_register
    movl $page_map, %eax
    movl %eax, %cr3
    movl $0x620, %eax                   # CR4: PAE, SSE
    movl %eax, %cr4
    movl $0xc0000080, %ecx              # EFER: long mode
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    orl $0x80000001, %eax
    movl %eax, %cr0
    ljmpl $0x08, $boot64

    .code64
boot64:
    call load_segments
    movl $(stacks + 4096), %esp
    movl $trampoline, %esi              # A startup IPI begins in a page below 1 MiB.
    movl $0x8000, %edi
    movl $(trampoline_end - trampoline), %ecx
    rep movsb
    call fill_idt
    lidt idt_register
    xorl %ebx, %ebx
    call enable_apic
    .globl hello
hello:
    movw $0x3f8, %dx
    movb $'B', %al
    outb %al, %dx
    movw $0x402, %dx
    movb $'A', %al
    outb %al, %dx
    movl $0xc4500, APIC + 0x300         # INIT, then startup at 0x8000, to all but this one.
    movl $0xc4608, APIC + 0x300
    jmp work

load_segments:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    ret
enable_apic:
    movl $0x1ff, APIC + 0xf0            # Spurious vector register: software enable.
    movl $0xffffffff, APIC + 0xe0       # Flat logical addressing,
    movl $0x01000000, %eax              # one bit a vCPU.
    movl %ebx, %ecx
    shll %cl, %eax
    movl %eax, APIC + 0xd0
    ret
other64:
    movl $0x10, %eax
    movl %eax, %ss
    movl APIC + 0x20, %ebx              # The APIC's ID
    shrl $24, %ebx
    movl %ebx, %ecx
    shll $12, %ecx
    leaq stacks + 4096(%rcx), %rsp
    call load_segments
    lidt idt_register
    call enable_apic
    .globl work, work_middle
work:
    incq counters(,%rbx,8)
work_middle:
    nop
    movl commands(,%rbx,4), %eax
    testl %eax, %eax
    jz work
    movl $0, commands(,%rbx,4)
    jmp *handlers(,%rax,8)

    .globl icr_nmi, icr_nmi_next, icr_physical, icr_logical
command_nmi_others:
    movl $0xc0400, %edi
icr_nmi:
    movl %edi, APIC + 0x300
icr_nmi_next:
    jmp work
command_fixed_to_1:
    movl $0x01000000, APIC + 0x310
    movl $0x40f8, %esi
icr_physical:
    movl %esi, APIC + 0x300
    jmp work
command_fixed_to_1_and_2_logical:
    movl $0x06000000, APIC + 0x310
    movl $0x48f7, %edi
icr_logical:
    movl %edi, APIC + 0x300
    jmp work

command_reset:
    movw $0xcf9, %dx
    movb $6, %al
    outb %al, %dx
1:  jmp 1b
command_power_off:                      # What QEMU's ACPI tables say: PM1a control, SLP_EN with sleep type 0.
    movw $0x604, %dx
    movw $0x2000, %ax
    outw %ax, %dx
1:  jmp 1b
command_triple_fault:
    lidt null_register
    ud2
    .globl halt_instruction, after_halt
command_halt:
    sti
halt_instruction:
    hlt
after_halt:
    cli
    jmp work
    .globl write_done
command_write:
    movl $3000, %ecx
1:  movw $0x3fd, %dx                    # Line status: wait until the transmitter takes another byte.
    inb %dx, %al
    testb $0x20, %al
    jz 1b
    movw $0x3f8, %dx
    movb $'c', %al
    outb %al, %dx
    decl %ecx
    jnz 1b
    movl $100000, %ecx
    movl $letters, %esi
    movw $0x402, %dx
2:  movl $letters, %esi
    outsb
    decl %ecx
    jnz 2b
write_done:
    jmp work
command_write_forever:
    movw $0x402, %dx
    movb $'x', %al
1:  outb %al, %dx
    jmp 1b
    .globl faulting_load
command_page_fault:
    movq $0, fault_entry
    invlpg FAULT_PAGE
faulting_load:
    movl FAULT_PAGE, %ecx
    jmp work
    .globl undefined_instruction
command_undefined:
undefined_instruction:
    ud2
    jmp work
    .globl repeated_store
command_repeat:
    movl $scratch, %edi
    movl $700, %ecx
repeated_store:
    rep stosb
    jmp work
    .globl interrupts_on
command_interrupts_on:
    sti
interrupts_on:
    jmp work
command_machine_checks_on:
    movq %cr4, %rax
    orl $0x40, %eax
    movq %rax, %cr4
    jmp work

    .globl nmi_handler, irq_handler
nmi_handler:
    incq nmis(,%rbx,8)
    iretq
machine_check_handler:
    incq machine_checks(,%rbx,8)
    movl $0x405, %ecx                   # IA32_MC1_STATUS
    rdmsr
    movl %eax, machine_check_status(,%rbx,8)
    movl %edx, machine_check_status + 4(,%rbx,8)
    movl $0x17a, %ecx                   # IA32_MCG_STATUS: this one is over.
    xorl %eax, %eax
    xorl %edx, %edx
    wrmsr
    iretq
irq_handler:
    incq irqs(,%rbx,8)
    movl $0, APIC + 0xb0
    iretq
undefined_handler:
    addq $2, (%rsp)
    iretq
fault_handler:
    incq faults(,%rbx,8)
    movq $3, fault_entry                # Any page will do: the first.
    addq $8, %rsp
    iretq

fill_idt:
    movl $idt, %edi
    xorl %ecx, %ecx
1:  movl $irq_handler, %eax
    cmpl $2, %ecx
    movl $nmi_handler, %edx
    cmovel %edx, %eax
    cmpl $6, %ecx
    movl $undefined_handler, %edx
    cmovel %edx, %eax
    cmpl $14, %ecx
    movl $fault_handler, %edx
    cmovel %edx, %eax
    cmpl $18, %ecx
    movl $machine_check_handler, %edx
    cmovel %edx, %eax
    movw %ax, (%rdi)
    movw $8, 2(%rdi)
    movw $0x8e00, 4(%rdi)               # Present interrupt gate
    shrl $16, %eax
    movw %ax, 6(%rdi)
    movq $0, 8(%rdi)
    addq $16, %rdi
    incl %ecx
    cmpl $256, %ecx
    jne 1b
    ret

    .code16
trampoline:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    lgdtl 0x8000 + (trampoline_gdt - trampoline)
    movl $page_map, %eax
    movl %eax, %cr3
    movl $0x620, %eax
    movl %eax, %cr4
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    orl $0x80000001, %eax
    movl %eax, %cr0
    ljmpl $0x08, $other64
trampoline_gdt:
    .word gdt_end - gdt - 1
    .long gdt
trampoline_end:

    .data
    .align 16
gdt:
    .quad 0
    .quad 0x00209a0000000000            # 64-bit code
    .quad 0x0000920000000000            # Data
gdt_end:
gdt_register:
    .word gdt_end - gdt - 1
    .quad gdt
null_register:
    .word 0
    .quad 0
idt_register:
    .word 4095
    .quad idt
letters:
    .ascii "a"
    .align 8
    .globl commands, counters, nmis, irqs, faults, machine_checks, machine_check_status, scratch
handlers:
    .quad work, command_nmi_others, command_fixed_to_1, command_fixed_to_1_and_2_logical, command_reset
    .quad command_power_off, command_triple_fault, command_halt, command_write, command_write_forever
    .quad command_page_fault, command_undefined, command_repeat, command_interrupts_on
    .quad command_machine_checks_on
commands:   .fill LAST_VCPU + 1, 4, 0
counters:   .fill LAST_VCPU + 1, 8, 0
nmis:       .fill LAST_VCPU + 1, 8, 0
irqs:       .fill LAST_VCPU + 1, 8, 0
faults:     .fill LAST_VCPU + 1, 8, 0
machine_checks:       .fill LAST_VCPU + 1, 8, 0
machine_check_status: .fill LAST_VCPU + 1, 8, 0
scratch:    .fill 1024
    .align 4096
page_map:
    .quad low_directory + 3
    .fill 510, 8, 0
    .quad high_directories + 3
low_directory:                          # The first GiB, one to one.
    .quad 0x83
    .fill 511, 8, 0
high_directories:
    .fill 511, 8, 0
    .quad high_directory + 3
high_directory:
    .fill 506, 8, 0
    .quad high_table + 3
    .fill 5, 8, 0
high_table:
    .fill 509, 8, 0
    .quad 0xfee00013                    # The local APIC, uncached
fault_entry:
    .quad 0
    .quad 0
idt:
    .fill 512, 8, 0
stacks:
    .fill 4096 * (LAST_VCPU + 1)
