# cmake --install: the program, the libraries, the headers, and a package for find_package(decant).
include(CMakePackageConfigHelpers)

set(decant_folders base data monitoring models dist trainer launch)
set(decant_package ${CMAKE_INSTALL_LIBDIR}/cmake/decant)
list(TRANSFORM decant_folders PREPEND "decant_" OUTPUT_VARIABLE decant_libraries)

add_library(decant_all INTERFACE)
add_library(decant::decant ALIAS decant_all)
set_target_properties(decant_all PROPERTIES EXPORT_NAME decant)
list(TRANSFORM decant_folders PREPEND "decant::" OUTPUT_VARIABLE decant_aliases)
target_link_libraries(decant_all INTERFACE ${decant_aliases})

if(TARGET decant)
  install(TARGETS decant RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
if(DECANT_WITH_PARQUET)
  install(TARGETS decant_parquet LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/decant)
endif()
install(TARGETS ${decant_libraries} decant_all decant_warnings EXPORT decant_targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT decant_targets NAMESPACE decant:: FILE decant_targets.cmake DESTINATION ${decant_package})
foreach(folder IN LISTS decant_folders)
  install(DIRECTORY ${CMAKE_SOURCE_DIR}/${folder} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/decant
    FILES_MATCHING PATTERN "*.h")
endforeach()
configure_package_config_file(cmake/decant-config.cmake.in ${CMAKE_BINARY_DIR}/generated/decant-config.cmake
  INSTALL_DESTINATION ${decant_package} PATH_VARS CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/generated/decant-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/generated/decant-config.cmake
  ${CMAKE_BINARY_DIR}/generated/decant-config-version.cmake
  cmake/dependencies.cmake cmake/torch.cmake DESTINATION ${decant_package})
