# libdecant_parquet.so: the part of decant that knows Arrow, loaded when a Parquet file is read. Arrow is that of the PyPI
# wheel `pyarrow`, which carries headers and libraries: ./quickstart installs it. Without it decant reads no Parquet.
# Programs look for it beside themselves, and where it is installed. By a run path that the environment cannot override,
# and that holds for libraries in between too (a sanitizer's dlopen).
list(APPEND CMAKE_INSTALL_RPATH "$ORIGIN" "$ORIGIN/.." "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}/decant")
add_link_options(-Wl,--disable-new-dtags)

set(DECANT_ARROW_ROOT "" CACHE PATH "Folder of the wheel pyarrow; empty: that of the virtual environment")
set(decant_arrow ${DECANT_ARROW_ROOT})
if(NOT decant_arrow)
  file(GLOB decant_arrow ${DECANT_VENV}/lib/python3*/site-packages/pyarrow)
endif()
# The wheel has no unversioned names.
file(GLOB decant_arrow_libraries ${decant_arrow}/libparquet.so.* ${decant_arrow}/libarrow.so.*)
list(LENGTH decant_arrow_libraries decant_count)
set(DECANT_WITH_PARQUET OFF)
if(NOT DECANT_PARQUET)
  message(STATUS "Parquet: not built in, it was switched off")
  return()
endif()
if(NOT EXISTS ${decant_arrow}/include/parquet/arrow/reader.h OR NOT decant_count EQUAL 2)
  message(STATUS "Parquet: not built in, no wheel pyarrow in ${DECANT_VENV}")
  return()
endif()
set(DECANT_WITH_PARQUET ON)
message(STATUS "Parquet: ${decant_arrow}")

add_library(decant_ext::arrow INTERFACE IMPORTED GLOBAL)
target_include_directories(decant_ext::arrow SYSTEM INTERFACE ${decant_arrow}/include)
target_link_libraries(decant_ext::arrow INTERFACE ${decant_arrow_libraries})

file(GLOB decant_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/data/parquet/*.cpp)
add_library(decant_parquet MODULE ${decant_sources})
target_include_directories(decant_parquet PRIVATE ${CMAKE_SOURCE_DIR})
target_link_libraries(decant_parquet PRIVATE decant_ext::arrow nlohmann_json::nlohmann_json decant_warnings)
set_target_properties(decant_parquet PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR} INSTALL_RPATH ${decant_arrow})
