# The guest of the conformance suite: a loop on every vCPU that counts and obeys commands, and nothing else. RBX is the
# vCPU's number throughout. Keeps to plain integer instructions, which a host that emulates kernel code knows as well.
#include "hypervisor/conformance/start.inc"

    .text
    .code64
    .globl hello
boot_cpu:
hello:
    movw $0x3f8, %dx
    movb $'B', %al
    outb %al, %dx
    movw $0x402, %dx
    movb $'A', %al
    outb %al, %dx
    movl $0xc4500, APIC + 0x300         # INIT, then startup at 0x8000, to all but this one.
    movl $0xc4608, APIC + 0x300
other_cpu:
    .globl work, work_middle, work_load, work_test, work_branch
work:
    incq counters(,%rbx,8)
work_middle:
    nop
work_load:
    movl commands(,%rbx,4), %eax
work_test:
    testl %eax, %eax
work_branch:
    jz work
    movl $0, commands(,%rbx,4)
    jmp *handlers(,%rax,8)

    .globl icr_nmi, icr_nmi_next, icr_physical, icr_logical, icr_any, icr_any_next
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
command_send_ipi:
    movl icr_high(,%rbx,4), %edx
    movl icr_low(,%rbx,4), %esi
    movl %edx, APIC + 0x310
icr_any:
    movl %esi, APIC + 0x300
icr_any_next:
    jmp work
command_write_apic:
    movl apic_register(,%rbx,4), %ecx
    movl apic_value(,%rbx,4), %eax
    movl %eax, APIC(%rcx)
    jmp work
command_read_apic:
    movl apic_register(,%rbx,4), %ecx
    movl APIC(%rcx), %eax
    movl %eax, apic_value(,%rbx,4)
    jmp work

command_reset:
    movw $0xcf9, %dx
    movb $6, %al
    outb %al, %dx
1:  jmp 1b
command_power_off:                      # PM1a control, SLP_EN with sleep type 0: what the engines' ACPI tables say.
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
    .globl row, row_end
command_row:
    xorl %r8d, %r8d
row:                                    # Instructions of three bytes each, which count themselves.
    .rept 12
    incq %r8
    .endr
row_end:
    jmp work
    .globl push_flags, flags_pushed
command_flags:
push_flags:
    pushfq
flags_pushed:
    popq %r9
    jmp work
    .globl interrupts_on
command_interrupts_on:
    sti
interrupts_on:
    jmp work
command_interrupts_off:
    cli
    jmp work
command_machine_checks_on:
    movq %cr4, %rax
    orl $0x40, %eax
    movq %rax, %cr4
    jmp work

    .globl nmi_handler, nmi_test, nmi_branch, nmi_return, irq_handler, irq_end
nmi_handler:
    incq nmis(,%rbx,8)
nmi_test:
    cmpl $0, stops(,%rbx,4)
nmi_branch:
    jne stop
nmi_return:
    iretq
irq_handler:
    incq irqs(,%rbx,8)
irq_end:
    movl $0, APIC + 0xb0
    cmpl $0, stops(,%rbx,4)
    jne stop
    iretq
stop:                                   # As a CPU of a kernel that panics, which has been told to.
    incq stopped(,%rbx,8)
1:  cli
    hlt
    jmp 1b
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
undefined_handler:
    addq $2, (%rsp)
    iretq
fault_handler:
    incq faults(,%rbx,8)
    movq $3, fault_entry                # Any page will do: the first.
    addq $8, %rsp
    iretq
    .globl unexpected
unexpected:
    cli
    hlt
    jmp unexpected

    .balign 16
vectors:
    .set number, 0
    .rept 256
    .balign 16
    movl $number, last_vector(,%rbx,4)
    .if number == 2
    jmp nmi_handler
    .elseif number == 6
    jmp undefined_handler
    .elseif number == 14
    jmp fault_handler
    .elseif number == 18
    jmp machine_check_handler
    .elseif number < 32
    jmp unexpected
    .else
    jmp irq_handler
    .endif
    .set number, number + 1
    .endr

    .data
letters:
    .ascii "a"
    .align 8
handlers:                               # Command in test_guest.h
    .quad work, command_nmi_others, command_fixed_to_1, command_fixed_to_1_and_2_logical, command_reset
    .quad command_power_off, command_triple_fault, command_halt, command_write, command_write_forever
    .quad command_page_fault, command_undefined, command_repeat, command_interrupts_on
    .quad command_machine_checks_on, command_send_ipi, command_write_apic, command_read_apic, command_row
    .quad command_interrupts_off, command_flags
    .globl counters, nmis, irqs, faults, stopped, machine_checks, machine_check_status
counters:             .fill LAST_VCPU + 1, 8, 0
nmis:                 .fill LAST_VCPU + 1, 8, 0
irqs:                 .fill LAST_VCPU + 1, 8, 0
faults:               .fill LAST_VCPU + 1, 8, 0
stopped:              .fill LAST_VCPU + 1, 8, 0
machine_checks:       .fill LAST_VCPU + 1, 8, 0
machine_check_status: .fill LAST_VCPU + 1, 8, 0
    .globl commands, last_vector, stops, icr_high, icr_low, apic_register, apic_value
commands:             .fill LAST_VCPU + 1, 4, 0
last_vector:          .fill LAST_VCPU + 1, 4, 0
stops:                .fill LAST_VCPU + 1, 4, 0 # Not 0: an NMI or interrupt ends this vCPU's work.
icr_high:             .fill LAST_VCPU + 1, 4, 0
icr_low:              .fill LAST_VCPU + 1, 4, 0
apic_register:        .fill LAST_VCPU + 1, 4, 0
apic_value:           .fill LAST_VCPU + 1, 4, 0
    .globl scratch
scratch:              .fill 1024
    .globl guest_end
guest_end:
