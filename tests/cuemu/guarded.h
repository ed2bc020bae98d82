// What ctypes needs of a test library: plain C functions that return an error's text, or null.
#pragma once

#include <exception>
#include <string>

#define EXPORT(name) extern "C" __attribute__((visibility("default"))) const char* name

template <class Function>
const char* guarded(Function function) {
  static std::string text;
  try {
    function();
    return nullptr;
  } catch (const std::exception& error) {
    text = error.what();
    return text.c_str();
  }
}
