# Libraries from the distribution (tools/setup installs them). What the worker links is static or header-only, so
# that one binary built here starts on a machine that has none of them.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(fmt REQUIRED)

# fmt is compiled here, once: the distribution has no static one, and header-only every file compiles it for itself.
add_library(dep_fmt STATIC ${CMAKE_CURRENT_LIST_DIR}/fmt_library.cpp)
target_include_directories(dep_fmt SYSTEM PUBLIC $<TARGET_PROPERTY:fmt::fmt-header-only,INTERFACE_INCLUDE_DIRECTORIES>)

# pkg-config's static libraries under one target: kernelites_static(<target> <module> <archive>)
function(kernelites_static target module archive)
  pkg_check_modules(${target} REQUIRED ${module})
  find_library(${target}_ARCHIVE ${archive} REQUIRED)
  add_library(${target} INTERFACE)
  target_link_libraries(${target} INTERFACE ${${target}_ARCHIVE})
  target_include_directories(${target} SYSTEM INTERFACE ${${target}_INCLUDE_DIRS})
endfunction()

kernelites_static(dep_sodium libsodium libsodium.a)
kernelites_static(dep_seccomp libseccomp libseccomp.a)
kernelites_static(dep_sqlite sqlite3 libsqlite3.a)
kernelites_static(dep_zlib zlib libz.a)
target_link_libraries(dep_sqlite INTERFACE m Threads::Threads ${CMAKE_DL_LIBS})
target_link_libraries(dep_sodium INTERFACE Threads::Threads)
pkg_check_modules(dep_curl REQUIRED IMPORTED_TARGET libcurl)
