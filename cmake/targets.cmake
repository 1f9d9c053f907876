# How a folder becomes a library, and what every target that includes LibTorch has in common.

# One precompiled header, built once. Every target that reuses it must be compiled with the same flags, so all of them
# take theirs from decant_ext::torch and decant_warnings.
function(decant_add_pch)
  if(NOT DECANT_PCH)
    return()
  endif()
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/pch.cpp CONTENT "// Owns the precompiled header.\n")
  add_library(decant_pch OBJECT ${CMAKE_BINARY_DIR}/generated/pch.cpp)
  target_link_libraries(decant_pch PRIVATE decant_ext::torch decant_warnings)
  target_precompile_headers(decant_pch PRIVATE ${CMAKE_SOURCE_DIR}/cmake/pch_torch.h)
endfunction()

function(decant_use_torch target)
  target_link_libraries(${target} PRIVATE decant_warnings)
  if(DECANT_PCH)
    target_precompile_headers(${target} REUSE_FROM decant_pch)
  endif()
endfunction()

# Sources whose floating-point products have one order, for the same bits from every instruction set.
set_source_files_properties(${CMAKE_SOURCE_DIR}/models/ops/int8_kernels.isa.cpp PROPERTIES
  COMPILE_OPTIONS -fno-associative-math)

# <folder>/**/*.isa.cpp: inner loops compiled once for each instruction set, chosen at run time. They include neither
# LibTorch nor anything else with inline functions of external linkage: the linker keeps one copy of such a function,
# and it could be the one that needs AVX512 (the test isa_symbols checks it).
function(decant_add_isa_sources target folder)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.isa.cpp)
  if(NOT sources)
    return()
  endif()
  set(flags_baseline)
  set(flags_avx2 -march=x86-64-v3)
  set(flags_avx512 -march=x86-64-v4 -mprefer-vector-width=512)
  set(levels baseline)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    list(APPEND levels avx2 avx512)
  endif()
  foreach(level IN LISTS levels)
    set(library ${target}_${level})
    add_library(${library} OBJECT ${sources})
    target_include_directories(${library} PRIVATE ${CMAKE_SOURCE_DIR})
    target_compile_definitions(${library} PRIVATE DECANT_ISA=${level})
    target_compile_options(${library} PRIVATE ${flags_${level}}
      -O3 -fopenmp-simd -ffast-math -fno-finite-math-only)  # infinities are values here
    target_link_libraries(${library} PRIVATE decant_warnings)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${library}>)
    if(NOT level STREQUAL "baseline")
      set_property(GLOBAL APPEND PROPERTY DECANT_ISA_OBJECTS "$<TARGET_OBJECTS:${library}>")
    endif()
  endforeach()
endfunction()

# <folder>/**/*.cu: apart, so that no LibTorch header is in reach.
function(decant_add_cuda_sources target folder)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.cu)
  if(NOT sources OR NOT DECANT_WITH_CUDA)
    return()
  endif()
  add_library(${target}_cuda OBJECT ${sources})
  target_include_directories(${target}_cuda PRIVATE ${CMAKE_SOURCE_DIR})
  target_compile_definitions(${target}_cuda PRIVATE DECANT_WITH_CUDA=1)
  target_compile_options(${target}_cuda PRIVATE -Xcompiler=-Wall)
  target_sources(${target} PRIVATE $<TARGET_OBJECTS:${target}_cuda>)
endfunction()

# decant_add_library(<folder> [TORCH] [PUBLIC <dependency>...] [PRIVATE <dependency>...])
# All sources below <folder> except main.cpp and those of the Parquet module, as the static library decant_<folder>, alias decant::<folder>.
# Sources named *nccl*.cpp or *_cuda.cpp are left out of a build without CUDA.
function(decant_add_library folder)
  cmake_parse_arguments(arg "TORCH" "" "PUBLIC;PRIVATE" ${ARGN})
  set(target decant_${folder})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "\\.isa\\.cpp$|/main\\.cpp$|/data/parquet/")
  if(NOT DECANT_WITH_CUDA)
    list(FILTER sources EXCLUDE REGEX "nccl[^/]*\\.cpp$|_cuda\\.cpp$")
  endif()
  if(NOT sources)
    file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/${folder}.cpp CONTENT "// ${folder}/ has no sources.\n")
    set(sources ${CMAKE_BINARY_DIR}/generated/${folder}.cpp)
  endif()
  add_library(${target} STATIC ${sources})
  add_library(decant::${folder} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${folder})
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/decant>)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_link_libraries(${target} PUBLIC ${arg_PUBLIC} PRIVATE ${arg_PRIVATE})
  if(arg_TORCH)
    target_link_libraries(${target} PUBLIC decant_ext::torch)
    decant_use_torch(${target})
    decant_add_isa_sources(${target} ${folder})
    decant_add_cuda_sources(${target} ${folder})
  else()
    target_link_libraries(${target} PRIVATE decant_warnings)
  endif()
endfunction()

# decant_build_info.h, for `--version` and reports. Written at build time, so that the revision is that of the build.
function(decant_add_build_info target)
  set(header ${CMAKE_BINARY_DIR}/generated/decant_build_info.h)
  set(values DECANT_VERSION=${PROJECT_VERSION} DECANT_TORCH_VERSION=${DECANT_TORCH_VERSION}
    DECANT_CUDA_VERSION=${DECANT_CUDA_VERSION} DECANT_NCCL_VERSION=${DECANT_NCCL_VERSION}
    DECANT_HDF5_VERSION=${DECANT_HDF5_VERSION} DECANT_PROMETHEUS_VERSION=${DECANT_PROMETHEUS_VERSION}
    DECANT_MPI_VERSION=${DECANT_MPI_VERSION} DECANT_HTTPLIB_VERSION=${DECANT_HTTPLIB_VERSION}
    DECANT_XXHASH_VERSION=${DECANT_XXHASH_VERSION} DECANT_YAML_VERSION=${DECANT_YAML_VERSION}
    DECANT_CLI11_VERSION=${CLI11_VERSION} DECANT_JSON_VERSION=${nlohmann_json_VERSION}
    "DECANT_COMPILER=${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}" DECANT_BUILD_TYPE=${CMAKE_BUILD_TYPE})
  list(TRANSFORM values PREPEND "-D")
  add_custom_target(decant_build_info BYPRODUCTS ${header}
    COMMAND ${CMAKE_COMMAND} ${values} -DSOURCE=${CMAKE_SOURCE_DIR} -DOUTPUT=${header}
      -P ${CMAKE_SOURCE_DIR}/cmake/write_build_info.cmake
    VERBATIM COMMENT "")
  add_dependencies(${target} decant_build_info)
  target_include_directories(${target} PRIVATE ${CMAKE_BINARY_DIR}/generated)
endfunction()
