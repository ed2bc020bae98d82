#include "cuemu/command/convert.h"

#include <cstdlib>
#include <cstring>

#include "cuemu/reduced_intrinsics.h"

namespace cuemu::command {
namespace {

std::string bits(const char* name, unsigned bytes) { return name + std::to_string(8 * bytes); }

// numpy's name of the parameter's elements, or "" where numpy has none.
std::string dtype_of(const Parameter& parameter) {
  switch (parameter.form) {
    case Form::boolean:
      return "bool";
    case Form::integer:
      return bits("int", parameter.bytes);
    case Form::natural:
      return bits("uint", parameter.bytes);
    case Form::floating:
      return bits("float", parameter.bytes);
    case Form::half:
      return "float16";
    case Form::bfloat16:
      return "bfloat16";
    default:
      return "";
  }
}

// What numpy calls otherwise, or has no name for.
bool is_as_good(const Parameter& parameter, const Argument& array) {
  const std::string& dtype = array.kind;
  switch (parameter.form) {
    case Form::boolean:
      return dtype == "uint8";
    case Form::integer:
    case Form::natural:  // of `char` and `unsigned char` either
      return parameter.bytes == 1 && (dtype == "int8" || dtype == "uint8" || dtype == "bool");
    case Form::floating:
      return parameter.elements == 2 && dtype == bits("complex", parameter.size);
    case Form::bfloat16:
      return dtype == "uint16";
    case Form::nothing:
      return true;
    default:  // a struct: a structured dtype of its size, or bytes
      return dtype == "uint8" || (dtype.rfind("void", 0) == 0 && array.item_size == parameter.size);
  }
}

// The kind of number that fits exactly: "i32".
std::string kind_of(const Parameter& parameter) {
  switch (parameter.form) {
    case Form::boolean:
      return "u8";
    case Form::integer:
      return parameter.bytes == 8 ? "i64" : "i32";
    case Form::natural:
      return parameter.bytes == 1 ? "u8" : parameter.bytes == 8 ? "i64" : "u32";
    case Form::half:
      return "f16";
    case Form::bfloat16:
      return "f32";
    default:
      return bits("f", parameter.bytes);
  }
}

bool is_integer(Form form) { return form == Form::boolean || form == Form::integer || form == Form::natural; }

bool is_integer_kind(const std::string& kind) { return kind == "int" || kind[0] == 'i' || kind[0] == 'u'; }

// Integers come as decimal digits of 64 bits, signed where there is a minus sign.
bool in_range(const Parameter& parameter, const std::string& digits) {
  const unsigned width = 8 * parameter.bytes;
  if (parameter.form == Form::boolean) return digits == "0" || digits == "1";
  if (digits[0] == '-') {
    if (parameter.form == Form::natural) return false;
    const long long value = std::strtoll(digits.c_str(), nullptr, 10);
    return width == 64 || value >= -(1ll << (width - 1));
  }
  const unsigned long long value = std::strtoull(digits.c_str(), nullptr, 10);
  const unsigned positive = parameter.form == Form::integer ? width - 1 : width;
  return positive == 64 || value >> positive == 0;
}

std::string needs(const Parameter& parameter, const std::string& what) {
  return "the parameter is " + type_text(parameter) + ", which takes " + what;
}

std::string misfit_of_array(const Parameter& parameter, const Argument& array) {
  const std::string dtype = dtype_of(parameter);
  if (array.kind != dtype && !is_as_good(parameter, array)) {
    const std::string wanted =
        dtype.empty() ? "an array of a structured dtype of " + std::to_string(parameter.size) + " bytes, or of uint8"
                      : "an array of " + dtype;
    return needs(parameter, wanted) + ", and this is " + array.kind;
  }
  if (array.bytes() % parameter.size)
    return "its " + std::to_string(array.bytes()) + " bytes are no multiple of the " + std::to_string(parameter.size) +
           " of " + type_text(parameter).substr(0, type_text(parameter).find('*'));
  return "";
}

}  // namespace

std::string type_text(const Parameter& parameter) {
  const std::string text = parameter.type;
  const std::size_t start = text.find("T = ") + 4;
  std::string type = text.substr(start, text.find_first_of(";]", start) - start);
  if (std::size_t space = type.find(" *"); space != std::string::npos) type.erase(space, 1);
  return type;
}

std::string misfit(const Parameter& parameter, const Argument& argument) {
  if (!parameter.is_pointer && (parameter.form == Form::other || parameter.elements != 1))
    return "the parameter is " + type_text(parameter) + ", and the command line passes pointers and numbers only";
  if (parameter.is_pointer)
    return argument.is_array ? misfit_of_array(parameter, argument) : needs(parameter, "an array");
  const std::string number = "a number, as " + kind_of(parameter) + ":VALUE";
  if (argument.is_array) return needs(parameter, number);
  if (is_integer(parameter.form)) {
    if (!is_integer_kind(argument.kind)) return needs(parameter, number);
    return in_range(parameter, argument.value) ? "" : "the number is out of the range of " + type_text(parameter);
  }
  const bool exact = argument.kind == kind_of(parameter) || argument.kind == "float" || argument.kind == "int";
  const bool widens = parameter.bytes == 8 && argument.kind[0] == 'f';
  return exact || widens ? "" : needs(parameter, number);
}

void convert(const Parameter& parameter, const Argument& argument, void* value) {
  if (argument.is_array) {
    std::memcpy(value, &argument.memory, sizeof argument.memory);
    return;
  }
  const char* text = argument.value.c_str();
  const double number = std::strtod(text, nullptr);
  const float single = std::strtof(text, nullptr);
  if (is_integer(parameter.form)) {
    const unsigned long long bits = *text == '-' ? static_cast<unsigned long long>(std::strtoll(text, nullptr, 10))
                                                 : std::strtoull(text, nullptr, 10);
    std::memcpy(value, &bits, parameter.size);  // the low bytes come first
  } else if (parameter.form == Form::half) {
    const __half half = __float2half(single);
    std::memcpy(value, &half, sizeof half);
  } else if (parameter.form == Form::bfloat16) {
    const __nv_bfloat16 brain = __float2bfloat16(single);
    std::memcpy(value, &brain, sizeof brain);
  } else if (parameter.bytes == 4) {
    std::memcpy(value, &single, sizeof single);
  } else {
    std::memcpy(value, &number, sizeof number);
  }
}

}  // namespace cuemu::command
