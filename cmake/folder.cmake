# One library per folder: every .cpp in it, its public links, and the repository root as the only include root.
#
#   kernelites_folder(<name> [LINK <targets>...] [PRIVATE <targets>...])
# makes the library kernelites_<name> of the current folder's sources (main.cpp excepted).
set(KERNELITES_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers)

function(kernelites_folder name)
  cmake_parse_arguments(ARG "" "" "LINK;PRIVATE" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS *.cpp)
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  if(NOT sources)  # headers only
    add_library(kernelites_${name} INTERFACE)
    target_include_directories(kernelites_${name} INTERFACE ${PROJECT_SOURCE_DIR})
    target_link_libraries(kernelites_${name} INTERFACE ${ARG_LINK} ${ARG_PRIVATE})
    return()
  endif()
  add_library(kernelites_${name} STATIC ${sources})
  set_target_properties(kernelites_${name} PROPERTIES LINKER_LANGUAGE CXX)
  target_include_directories(kernelites_${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_compile_options(kernelites_${name} PRIVATE ${KERNELITES_WARNINGS})
  target_link_libraries(kernelites_${name} PUBLIC ${ARG_LINK} PRIVATE ${ARG_PRIVATE})
endfunction()
