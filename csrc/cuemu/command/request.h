// What the command line wants of this process, and where to leave the answer: a text file that CUEMU_REQUEST names, one
// entry a line, words separated by tabs.
//
//     report  PATH                          receives the outcome (outcome.h)
//     mode    run | check
//     timeout MILLISECONDS                  after which SIGALRM ends the process
//     grid    X Y Z
//     block   X Y Z
//     shared  BYTES
//     array   DTYPE ITEMS ITEMSIZE PATH TEXT    an argument: raw bytes, read from PATH and written back to it
//     number  KIND VALUE TEXT                   an argument: i32, u8, ..., or int and float, which fit what they can
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cuemu/language.h"

namespace cuemu::command {

// TEXT is what the user wrote: messages show it.
struct Argument {
  bool is_array;
  std::string kind;  // a dtype of numpy's, or the kind of a number
  std::string value;
  std::string text;
  std::size_t items;
  std::size_t item_size;
  std::string path;
  char* memory;  // where the kernel finds the array

  std::size_t bytes() const { return items * item_size; }
};

struct Request {
  std::string report;
  bool check = false;
  unsigned long timeout_ms = 0;
  dim3 grid, block;
  std::size_t shared_bytes = 0;
  std::vector<Argument> arguments;
};

// Read once. Throws std::runtime_error where there is none.
Request& request();

}  // namespace cuemu::command
