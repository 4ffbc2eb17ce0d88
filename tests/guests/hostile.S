# A guest that means harm: attacks on the engine behind its devices, chosen by a test, on every vCPU at once. Numbers that
# look random come from a seed that the test writes, so that an attack can be had again. RBX is the vCPU's number, R12 the
# generator's state, R13 how many rounds are left.
#include "hypervisor/conformance/start.inc"

    .text
    .code64
    .globl await
boot_cpu:
    movl $0xc4500, APIC + 0x300         # INIT, then startup, to all others.
    movl $0xc4608, APIC + 0x300
other_cpu:
await:
    incq waited(,%rbx,8)
    movl attack(,%rbx,4), %eax
    testl %eax, %eax
    jz await
    movq seeds(,%rbx,8), %r12
    movl rounds, %r13d
    jmp *attacks(,%rax,8)

next_round:                             # RSI: the attack's beginning.
    incq done(,%rbx,8)
    decl %r13d
    jz finished
    jmp *%rsi
finished:
    incq finishes(,%rbx,8)
1:  jmp 1b

random:                                 # Into RAX: xorshift, 13 7 17. Only RAX and R12 change.
    movq %r12, %rax
    shlq $13, %rax
    xorq %rax, %r12
    movq %r12, %rax
    shrq $7, %rax
    xorq %rax, %r12
    movq %r12, %rax
    shlq $17, %rax
    xorq %rax, %r12
    movq %r12, %rax
    ret

    # --- Ports. EDX is the port, EAX the value, and the bits of R9 from 32 on how.
port_writes:
    movl $port_writes, %esi
    call random
    movq %rax, %r9
    movzwl %ax, %edx
    testl $0x10000, %eax                # Every other time one of those where devices are.
    jz 1f
    shrl $20, %eax
    andl $127, %eax
    movzwl known_ports(,%rax,2), %edx
1:  call random
    btq $32, %r9
    jc 2f
    outb %al, %dx
    jmp next_round
2:  btq $33, %r9
    jc 3f
    outw %ax, %dx
    jmp next_round
3:  btq $34, %r9
    jc 4f
    outl %eax, %dx
    jmp next_round
4:  movl $scratch, %esi                 # Many at once, of a width each.
    movl $100, %ecx
    btq $35, %r9
    jc 5f
    rep outsb
    jmp 7f
5:  btq $36, %r9
    jc 6f
    rep outsw
    jmp 7f
6:  rep outsl
7:  movl $port_writes, %esi
    jmp next_round

port_reads:
    movl $port_reads, %esi
    call random
    movq %rax, %r9
    movzwl %ax, %edx
    testl $0x10000, %eax
    jz 1f
    shrl $20, %eax
    andl $127, %eax
    movzwl known_ports(,%rax,2), %edx
1:  btq $32, %r9
    jc 2f
    inb %dx, %al
    jmp next_round
2:  btq $33, %r9
    jc 3f
    inw %dx, %ax
    jmp next_round
3:  btq $34, %r9
    jc 4f
    inl %dx, %eax
    jmp next_round
4:  movl $scratch, %edi
    movl $100, %ecx
    btq $35, %r9
    jc 5f
    rep insb
    jmp next_round
5:  btq $36, %r9
    jc 6f
    rep insw
    jmp next_round
6:  rep insl
    jmp next_round

port_sweep:                             # Every port there is, with widths in turn: the rounds count ports.
    movl $port_sweep, %esi
    movl %r13d, %edx
    movl %r13d, %ecx
    andl $3, %ecx
    cmpl $1, %ecx
    je 1f
    cmpl $2, %ecx
    je 2f
    inb %dx, %al
    jmp next_round
1:  inw %dx, %ax
    jmp next_round
2:  inl %dx, %eax
    jmp next_round

    # --- Memory that is none: the APICs' pages, ROM, holes and what is behind the end of RAM.
device_memory:
    movl $device_memory, %esi
    call random
    movq %rax, %r9
    movl %eax, %ecx
    shrl $12, %ecx
    andl $15, %ecx
    movl device_pages(,%rcx,4), %edi
    movl %eax, %ecx
    andl $0xfff, %ecx
    btq $40, %r9                        # Three of four times where a register may be.
    jc 1f
    andl $0xff0, %ecx
1:  btq $41, %r9
    jc 2f
    andl $0xff0, %ecx
2:  addl %ecx, %edi
    btq $42, %r9
    jc 5f
    call random                         # Writes
    btq $43, %r9
    jc 3f
    movl %eax, (%rdi)
    jmp next_round
3:  btq $44, %r9
    jc 4f
    movb %al, (%rdi)
    jmp next_round
4:  movq %rax, (%rdi)
    movw %ax, (%rdi)
    jmp next_round
5:  btq $43, %r9                        # Reads
    jc 6f
    movl (%rdi), %eax
    jmp next_round
6:  btq $44, %r9
    jc 7f
    movb (%rdi), %al
    orl $1, (%rdi)
    jmp next_round
7:  movq (%rdi), %rax
    movw (%rdi), %ax
    jmp next_round

local_apic:                             # The registers of the local APIC, most often the ICR, interrupts on.
    sti
    movl $local_apic, %esi
    call random
    movq %rax, %r9
    movl %eax, %ecx
    andl $0x3f0, %ecx
    testl $0x10000, %eax
    jz 1f
    movl $0x310, %ecx                   # With a shorthand or without; bad vectors, reserved modes and all.
    shrq $32, %rax
    movl %eax, APIC(%rcx)
    movl $0x300, %ecx
1:  call random
    movl %eax, %edx                     # INIT ends it all too soon: of 16, 15 become NMIs.
    andl $0x700, %edx
    cmpl $0x500, %edx
    jne 2f
    movq %r9, %rdx
    shrq $48, %rdx
    andl $15, %edx
    jz 2f
    xorl $0x100, %eax
2:  movl %eax, APIC(%rcx)
    movl APIC(%rcx), %eax
    jmp next_round

io_apic:                                # Index and data.
    sti
    movl $io_apic, %esi
    call random
    andl $0xff, %eax
    btq $20, %r12
    jc 1f
    andl $0x3f, %eax
1:  movl $0xfec00000, %edi
    movl %eax, (%rdi)
    call random
    movl %eax, 0x10(%rdi)
    movl 0x10(%rdi), %eax
    movl %eax, 0x40(%rdi)               # EOI
    jmp next_round

long_copies:                            # From one device to the other, and across the end of RAM.
    movl $0xfee00000 - 0x800, %esi
    movl $0xfec00000 - 0x400, %edi
    movl $0x400, %ecx
    rep movsl
    movl $0x4000000 - 0x2000, %edi
    movl $0x4000, %ecx
    rep stosb
    movl $0x4000000 - 0x2000, %esi
    movl $scratch, %edi
    movl $0x1000, %ecx
1:  lodsl
    decl %ecx
    jnz 1b
    movl $long_copies, %esi
    jmp next_round

    # --- MSRs. A general protection fault skips the instruction, of two bytes each.
msrs:
    movl $msrs, %esi
    call random
    movq %rax, %r9
    movl %eax, %ecx
    andl $0xfff, %ecx
    btq $40, %r9
    jc 1f
    andl $0x3ff, %ecx
    btq $41, %r9
    jc 1f
    andl $0x7f, %ecx
    addl $0xc0000080, %ecx
1:  btq $42, %r9
    jc 2f
    movl $0x1b, %ecx                    # IA32_APIC_BASE
    btq $43, %r9
    jc 2f
    movl $0x800, %ecx                   # x2APIC
    btq $44, %r9
    jc 2f
    movl $0x830, %ecx                   # Its ICR
2:  rdmsr
    call random
    movq %rax, %rdx
    shrq $32, %rdx
    btq $45, %r9
    jc 3f
    andl $0xf, %edx
3:  wrmsr
    jmp next_round

    # --- The vCPU itself.
triple_fault:
    lidt null_register
    ud2
no_page_tables:
    movl $0x3000000, %eax               # Zeros.
    movq %rax, %cr3
1:  jmp 1b
no_stack:
    movabsq $0xffff900000000000, %rsp
    pushq %rax
1:  jmp 1b
halt_for_ever:
    incq done(,%rbx,8)
1:  cli
    hlt
    jmp 1b
reset_storm:
    incq done(,%rbx,8)
    movw $0xcf9, %dx
    movb $6, %al
    outb %al, %dx
    movb $0xfe, %al
    outb %al, $0x64
    jmp reset_storm
exception_storm:
    incq done(,%rbx,8)
    ud2                                 # Its handler returns to it.
execute_device:
    incq done(,%rbx,8)
    movl $0xfee00000, %eax
    jmp *%rax
execute_nothing:
    incq done(,%rbx,8)
    movl $0x20000000, %eax              # Behind the end of RAM.
    jmp *%rax
random_state:                           # Control registers.
    movl $random_state, %esi
    call random
    movq %rax, %r9
    andl $0x7ff, %eax
    movq %cr4, %rdx
    xorq %rax, %rdx
    movq %rdx, %cr4
    btq $32, %r9
    jc next_round
    call random
    movq %cr0, %rdx
    xorl %eax, %edx
    orl $0x80000001, %edx
    movq %rdx, %cr0
    jmp next_round

interrupt:
    movl $0, APIC + 0xb0
    iretq
nmi:
    iretq
general_protection:                     # With the error code gone. What is skipped has two bytes, or three: MOV to CR.
    addq $8, %rsp
    pushq %rax
    movq 8(%rsp), %rax
    cmpb $0x22, 1(%rax)
    jne 1f
    incq 8(%rsp)
1:  addq $2, 8(%rsp)
    popq %rax
    iretq
with_error_code:
    addq $8, %rsp
without_error_code:
    iretq

    .balign 16
vectors:
    .set number, 0
    .rept 256
    .balign 16
    .if number == 2
    jmp nmi
    .elseif number == 13
    jmp general_protection
    .elseif number == 8 || (number >= 10 && number <= 14) || number == 17 || number == 21
    jmp with_error_code
    .elseif number < 32
    jmp without_error_code
    .else
    jmp interrupt
    .endif
    .set number, number + 1
    .endr

    .data
    .align 8
attacks:                                # Attack in hostile_test.cc
    .quad await, port_writes, port_reads, port_sweep, device_memory, local_apic, io_apic, long_copies, msrs, triple_fault
    .quad no_page_tables, no_stack, halt_for_ever, reset_storm, exception_storm, execute_device, execute_nothing
    .quad random_state
    .globl waited, done, finishes, seeds, attack, rounds
waited:     .fill LAST_VCPU + 1, 8, 0
done:       .fill LAST_VCPU + 1, 8, 0   # Rounds
finishes:   .fill LAST_VCPU + 1, 8, 0
seeds:      .fill LAST_VCPU + 1, 8, 0
attack:     .fill LAST_VCPU + 1, 4, 0
rounds:     .long 0
known_ports:                            # 128: UART, agent port, PICs, RTC, PM1a, reset, PCI, keyboard, PIT.
    .set number, 0
    .rept 8
    .word 0x3f8 + number, 0x402, 0x20 + (number & 1), 0xa0 + (number & 1), 0x70 + (number & 1), 0x600 + number
    .word 0xcf8 + number, 0x60 + (number & 4), 0x40 + number, 0x61, 0x4d0 + (number & 1), 0x80, 0x92, 0x401, 0xffff
    .word 0x3fd - number
    .set number, number + 1
    .endr
device_pages:
    .long 0xfee00000, 0xfee00000, 0xfee00000, 0xfec00000, 0xfec00000, 0xfec00000, 0xfee01000, 0xfec01000
    .long 0xfed00000, 0xffffe000, 0xe0000000, 0x4000000, 0x3ffff00, 0xa0000, 0xc0000, 0xfe000000
    .globl scratch
scratch:    .fill 4096
    .globl guest_end
guest_end:
