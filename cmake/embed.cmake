# Text files that a program carries inside itself: the harness's device headers and kernels.
#
#   kernelites_embed(<target> <variable> <file>...)
# adds a generated source that defines, in namespace kernelites,
#   const std::vector<EmbeddedFile> <variable>   (engine/core/embedded_file.h), one entry per file, by file name.
function(kernelites_embed target variable)
  set(output ${CMAKE_CURRENT_BINARY_DIR}/${variable}.cpp)
  set(files "")
  foreach(file ${ARGN})
    list(APPEND files ${CMAKE_CURRENT_SOURCE_DIR}/${file})
  endforeach()
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DOUTPUT=${output} -DVARIABLE=${variable} "-DFILES=${files}"
            -P ${PROJECT_SOURCE_DIR}/cmake/embed_files.cmake
    DEPENDS ${files} ${PROJECT_SOURCE_DIR}/cmake/embed_files.cmake
    VERBATIM)
  target_sources(${target} PRIVATE ${output})
endfunction()
