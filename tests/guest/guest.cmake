# The guest framework, for tests/guest and bench: the flags of a freestanding PV64 kernel, and its library.
include_guard(GLOBAL)

set(guest_dir ${CMAKE_CURRENT_LIST_DIR})

add_library(guest_options INTERFACE)
target_compile_options(guest_options INTERFACE
    -O2 -g0 -ffreestanding -mno-red-zone -mgeneral-regs-only -mcmodel=kernel -fno-pic -fno-pie
    -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables
    -fno-tree-loop-distribute-patterns -ffile-prefix-map=${guest_dir}/=
    $<$<COMPILE_LANGUAGE:CXX>:-std=gnu++23 -fno-exceptions -fno-rtti -fno-threadsafe-statics
        -Wall -Wextra -Wno-missing-field-initializers -Werror>)
target_include_directories(guest_options INTERFACE ${guest_dir}/lib)
target_link_options(guest_options INTERFACE
    -nostdlib -static -no-pie -Wl,-T,${guest_dir}/lib/guest.lds -Wl,--build-id=none
    -Wl,-z,max-page-size=4096 -Wl,--no-warn-rwx-segments)

file(GLOB guest_lib CONFIGURE_DEPENDS ${guest_dir}/lib/*.cpp)
add_library(guest_lib OBJECT ${guest_lib} ${guest_dir}/lib/entry.S ${guest_dir}/lib/puppet.S)
target_link_libraries(guest_lib PUBLIC guest_options)

# add_guest_image(NAME OBJECTS...): an image with the plain notes, bootable as Domain 0.
function(add_guest_image name)
    add_executable(${name} ${guest_dir}/lib/notes.S $<TARGET_OBJECTS:guest_lib> ${ARGN})
    target_link_libraries(${name} PRIVATE guest_options)
    set_target_properties(${name} PROPERTIES LINK_DEPENDS ${guest_dir}/lib/guest.lds)
endfunction()
