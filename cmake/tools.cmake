# The compiler's surroundings. Nothing here is required: ccache is used where it is. The linker is the compiler's own: mold
# 1.10 (Debian 12) once laid out a program that the loader refused, its RELRO segment beginning off a page.
include(CheckCXXCompilerFlag)

find_program(DECANT_CCACHE ccache)
if(DECANT_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # ccache follows a precompiled header only when told that its macros and times do not matter.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${DECANT_CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${DECANT_CCACHE})
endif()

add_library(decant_warnings INTERFACE)
target_compile_options(decant_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra $<$<BOOL:${DECANT_WERROR}>:-Werror>>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 warns of `"text" + std::string` inside its own library (bug 105651).
  target_compile_options(decant_warnings INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)
endif()

if(DECANT_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "DECANT_FUZZ needs clang, whose libFuzzer it uses: cmake --preset fuzz")
  endif()
  # Assertions of the standard library too: an index that is out of bounds within a vector's capacity is one.
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_compile_definitions(_GLIBCXX_ASSERTIONS)
  add_link_options(-fsanitize=address,undefined)
endif()

if(DECANT_SANITIZE)
  set(decant_sanitize -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_compile_options(${decant_sanitize})
  add_link_options(${decant_sanitize})
endif()
