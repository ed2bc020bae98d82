// Does what the user wrote fit a parameter, and what is it in the parameter's type?
#pragma once

#include <string>

#include "cuemu/command/parameter.h"
#include "cuemu/command/request.h"

namespace cuemu::command {

// "const float*"
std::string type_text(const Parameter& parameter);

// What is wrong, or "".
std::string misfit(const Parameter& parameter, const Argument& argument);

// Writes the value, which fits, to where `parameter.size` bytes are.
void convert(const Parameter& parameter, const Argument& argument, void* value);

}  // namespace cuemu::command
