# Text files that a program carries inside itself: the harness's device headers and kernels.
#
#   kernelites_embed(<target> <variable> <file>...)
# adds a generated source that defines, in namespace kernelites,
#   const std::vector<EmbeddedFile> <variable>   (engine/core/embedded_file.h), one entry per file, by file name.
function(kernelites_embed target variable)
  set(output ${CMAKE_CURRENT_BINARY_DIR}/${variable}.cpp)
  set(files "")
  foreach(file ${ARGN})
    cmake_path(ABSOLUTE_PATH file OUTPUT_VARIABLE path)  # one from elsewhere (the distribution) stays where it is
    list(APPEND files ${path})
  endforeach()
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DOUTPUT=${output} -DVARIABLE=${variable} "-DFILES=${files}"
            -P ${PROJECT_SOURCE_DIR}/cmake/embed_files.cmake
    DEPENDS ${files} ${PROJECT_SOURCE_DIR}/cmake/embed_files.cmake
    VERBATIM)
  target_sources(${target} PRIVATE ${output})
endfunction()
