# How every folder declares its library, its unit tests and its fuzz targets, so that warnings, sanitizers and naming are
# decided in one place.

add_library(panicroom_options INTERFACE)
target_include_directories(panicroom_options INTERFACE ${PROJECT_SOURCE_DIR})
target_link_libraries(panicroom_options INTERFACE fmt::fmt)
# -Wextra's missing-field-initializers takes a designated initializer that leaves a default in place for an oversight.
target_compile_options(panicroom_options INTERFACE -Wall -Wextra -Wno-missing-field-initializers -Wshadow -Wconversion
                                                   -Wnon-virtual-dtor)
if(PANICROOM_SANITIZE)
  target_compile_options(panicroom_options INTERFACE -fsanitize=${PANICROOM_SANITIZE} -fno-sanitize-recover=all
                                                    -fno-omit-frame-pointer)
  target_link_options(panicroom_options INTERFACE -fsanitize=${PANICROOM_SANITIZE})
endif()
if(PANICROOM_FUZZERS)
  # Coverage for the code under test; only the targets themselves link libFuzzer's main().
  target_compile_options(panicroom_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Optimising what runs once takes longer than running it.
add_library(panicroom_test_options INTERFACE)
target_compile_options(panicroom_test_options INTERFACE -O0)

# Nearly every source begins with these headers, and every test with GoogleTest's: parsed once, not hundreds of times, they
# make the first build a third shorter. The preset "dev" does without, and so shows which source lacks an #include.
option(PANICROOM_PRECOMPILED_HEADERS "Precompile the headers that most sources share" ON)
set(precompiled <fmt/format.h> <algorithm> <array> <chrono> <cstdint> <cstring> <filesystem> <functional> <map> <memory>
    <mutex> <optional> <set> <span> <string> <string_view> <thread> <utility> <vector>)
if(PANICROOM_PRECOMPILED_HEADERS)
  file(CONFIGURE OUTPUT precompiled.cc CONTENT "")
  add_library(panicroom_precompiled OBJECT ${CMAKE_CURRENT_BINARY_DIR}/precompiled.cc)
  target_link_libraries(panicroom_precompiled PRIVATE panicroom_options)
  target_precompile_headers(panicroom_precompiled PRIVATE ${precompiled})
  add_library(panicroom_precompiled_for_tests OBJECT ${CMAKE_CURRENT_BINARY_DIR}/precompiled.cc)
  target_link_libraries(panicroom_precompiled_for_tests PRIVATE panicroom_options panicroom_test_options GTest::gmock)
  target_precompile_headers(panicroom_precompiled_for_tests PRIVATE <gmock/gmock.h> <gtest/gtest.h> ${precompiled})
endif()

function(panicroom_use_precompiled target from)
  if(PANICROOM_PRECOMPILED_HEADERS)
    target_precompile_headers(${target} REUSE_FROM ${from})
  endif()
endfunction()

# panicroom_library(NAME sources... [LINK libraries...])
function(panicroom_library name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PUBLIC ${ARG_LINK} PRIVATE panicroom_options)
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  panicroom_use_precompiled(${name} panicroom_precompiled)
endfunction()

# What the sanitizer build is for: unit tests and fuzz targets, and not the program, nor the tests that drive machines.
add_custom_target(unit_tests)

# panicroom_test(NAME sources... [LINK libraries...] [LABELS labels...]): a GoogleTest program, its cases known to CTest.
function(panicroom_test name)
  cmake_parse_arguments(ARG "" "" "LINK;LABELS" ${ARGN})
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} GTest::gmock GTest::gtest_main panicroom_options
                                        panicroom_test_options)
  panicroom_use_precompiled(${name} panicroom_precompiled_for_tests)
  add_test(NAME ${name} COMMAND ${name} --gtest_brief=1)
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}")
  if("unit" IN_LIST ARG_LABELS)
    add_dependencies(unit_tests ${name})
  endif()
endfunction()

# panicroom_fuzzer(NAME sources... LINK libraries... [CORPUS folder]): a libFuzzer target; `./panicroom test` runs each for
# a bounded number of inputs, on top of the seed corpus.
function(panicroom_fuzzer name)
  cmake_parse_arguments(ARG "" "CORPUS" "LINK" ${ARGN})
  if(NOT PANICROOM_FUZZERS)
    return()
  endif()
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} panicroom_options)
  panicroom_use_precompiled(${name} panicroom_precompiled)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  set(work ${CMAKE_CURRENT_BINARY_DIR}/${name}.corpus)
  file(MAKE_DIRECTORY ${work})
  add_test(NAME ${name} COMMAND ${name} -max_total_time=10 -timeout=10 -rss_limit_mb=2048 -print_final_stats=0 ${work}
                                ${ARG_CORPUS})
  set_tests_properties(${name} PROPERTIES LABELS fuzz)
  add_dependencies(unit_tests ${name})
endfunction()
