// The files of template/ as data of the program; template.cc names them.
        .section .rodata.panicroom_page, "a", @progbits
        .macro page_file name, file
        .global panicroom_page_\name\()_begin
        .hidden panicroom_page_\name\()_begin
panicroom_page_\name\()_begin:
        .incbin "\file"
        .global panicroom_page_\name\()_end
        .hidden panicroom_page_\name\()_end
panicroom_page_\name\()_end:
        .endm

        page_file html, page.html
        page_file css, page.css
        page_file dom, dom.js
        page_file words, words.js
        page_file model, model.js
        page_file timeline, timeline.js
        page_file trial, trial.js
        page_file overview, overview.js
        page_file main, main.js

        .section .note.GNU-stack, "", @progbits
