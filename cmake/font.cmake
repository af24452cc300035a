# font.cpp in this directory's build: the letters of the screen (docs/dependencies.md: fonts-spleen).
find_package(Python3 REQUIRED COMPONENTS Interpreter)
set(FONT /usr/share/consolefonts/spleen-8x16.psfu.gz)
if(NOT EXISTS ${FONT})
  message(FATAL_ERROR "the package fonts-spleen is missing; ./xenolith installs it")
endif()
add_custom_command(OUTPUT font.cpp DEPENDS ${CMAKE_SOURCE_DIR}/cmake/font.py ${FONT}
                   COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/cmake/font.py ${FONT} font.cpp)
