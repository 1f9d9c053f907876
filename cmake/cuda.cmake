# nvcc as CMake's CUDA compiler. PyPI's CUDA wheels lack `lib64`, where nvcc looks when it links CMake's probe; the
# project keeps a folder of links of its own in the build tree rather than change the virtual environment.
if(NOT DECANT_WITH_CUDA)
  return()
endif()

set(CMAKE_CUDA_COMPILER ${DECANT_NVCC})
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES "80;90")  # machine code and PTX for both
endif()
get_filename_component(decant_toolkit ${DECANT_NVCC} REALPATH)
get_filename_component(decant_toolkit ${decant_toolkit}/../.. ABSOLUTE)
if(NOT EXISTS ${decant_toolkit}/lib64 AND EXISTS ${decant_toolkit}/lib)
  set(decant_links ${CMAKE_BINARY_DIR}/cuda_links)
  file(MAKE_DIRECTORY ${decant_links})
  file(GLOB decant_libraries ${decant_toolkit}/lib/*.so.* ${decant_toolkit}/lib/*.a)
  foreach(library IN LISTS decant_libraries)
    get_filename_component(decant_name ${library} NAME)
    string(REGEX REPLACE "\\.so\\..*" ".so" decant_name ${decant_name})
    file(CREATE_LINK ${library} ${decant_links}/${decant_name} SYMBOLIC)
  endforeach()
  set(CMAKE_CUDA_FLAGS_INIT "-L${decant_links}")
endif()
set(CMAKE_CUDA_RUNTIME_LIBRARY None)  # decant_ext::cudart, the one LibTorch loads
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc speaks C++20
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
