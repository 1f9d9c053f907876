# cmake -D<name>=<value>... -DSOURCE=<root> -DOUTPUT=<header> -P write_build_info.cmake; touches OUTPUT only on change.
execute_process(COMMAND git -C ${SOURCE} rev-parse --short=10 HEAD
  OUTPUT_VARIABLE DECANT_GIT_REVISION OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
  set(DECANT_GIT_REVISION "unknown")
endif()
set(text "// Written by the build.\n#pragma once\n\n")
foreach(name DECANT_GIT_REVISION DECANT_TORCH_VERSION DECANT_CUDA_VERSION DECANT_NCCL_VERSION DECANT_HDF5_VERSION
    DECANT_PROMETHEUS_VERSION DECANT_MPI_VERSION DECANT_COMPILER DECANT_BUILD_TYPE)
  string(APPEND text "#define ${name} \"${${name}}\"\n")
endforeach()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "${text}" @ONLY)
