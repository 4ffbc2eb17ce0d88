// The guest's binary as data of the host's program. PANICROOM_AGENT_PATH comes from CMake.
        .section .rodata.panicroom_agent, "a", @progbits
        .balign 16
        .global panicroom_agent_binary_begin
        .hidden panicroom_agent_binary_begin
panicroom_agent_binary_begin:
        .incbin PANICROOM_AGENT_PATH
        .global panicroom_agent_binary_end
        .hidden panicroom_agent_binary_end
panicroom_agent_binary_end:

        .section .note.GNU-stack, "", @progbits
