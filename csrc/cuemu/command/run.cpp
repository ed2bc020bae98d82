// One kernel, or one program with its own main function, on behalf of the command line.
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stdexcept>

#include "cuemu/check/check.h"
#include "cuemu/command/convert.h"
#include "cuemu/command/launcher.h"
#include "cuemu/command/memory.h"
#include "cuemu/command/outcome.h"
#include "cuemu/command/request.h"

namespace cuemu::command {
namespace {

void read_array(Argument& array) {
  array.memory = request().check ? static_cast<char*>(cuemu_check_allocate(array.bytes(), 1, array.text.c_str()))
                                 : guarded_memory(array.bytes(), array.text);
  if (!array.memory) throw std::bad_alloc();
  std::ifstream(array.path, std::ios::binary).read(array.memory, static_cast<std::streamsize>(array.bytes()));
}

void write_array(const Argument& array) {
  std::ofstream(array.path, std::ios::binary).write(array.memory, static_cast<std::streamsize>(array.bytes()));
}

void begin() {
  watch_for_crashes();
  if (request().check) cuemu_check_begin();
}

void finish() {
  if (request().check)
    report("checked", cuemu_check_end());
  else if (const std::string found = overruns(); !found.empty())
    report("overrun", found);
  else
    report("done", "");
}

Site launch_site{nullptr, 0};

template <class Function>
int guarded(Function function) {
  try {
    function();
  } catch (const std::invalid_argument& error) {
    if (!launch_site.file) end("usage", error.what());
    end("failed", std::string(error.what()) + " (" + launch_site.file + ":" + std::to_string(launch_site.line) + ")");
  } catch (const std::exception& error) {
    end("failed", error.what());
  }
  return 0;
}

// Also where the program calls `exit`.
void finish_program() { finish(); }

template <class Program>
int run_program_(Program program) {
  begin();
  std::atexit(finish_program);
  int status = 0;
  guarded([&] { status = program(); });
  return status;
}

}  // namespace

void launches_from(Site site) { launch_site = site; }

void prepare(const char* signature, const Parameter* parameters, int count) {
  std::vector<Argument>& arguments = request().arguments;
  const int given = static_cast<int>(arguments.size());
  if (given != count)
    end("usage", std::string("kernel ") + signature + " takes " + std::to_string(count) +
                     (count == 1 ? " argument, got " : " arguments, got ") + std::to_string(given));
  for (int i = 0; i < count; ++i) {
    if (const std::string error = misfit(parameters[i], arguments[i]); !error.empty())
      end("usage", "argument " + std::to_string(i + 1) + " (" + arguments[i].text + "): " + error);
  }
  for (Argument& argument : arguments)
    if (argument.is_array) read_array(argument);
}

const Shape& requested_shape() {
  static const Shape shape(request().grid, request().block, request().shared_bytes);
  return shape;
}

void fill(int index, const Parameter& parameter, void* value) {
  convert(parameter, request().arguments[static_cast<std::size_t>(index)], value);
}

int run_kernel(void (*call)()) {
  return guarded([call] {
    begin();
    call();
    for (const Argument& argument : request().arguments)
      if (argument.is_array) write_array(argument);
    finish();
  });
}

int run_program(int (*program)(), int, char**) { return run_program_(program); }

int run_program(int (*program)(int, char**), int count, char** words) {
  return run_program_([=] { return program(count, words); });
}

int run_program(int (*program)(int, const char**), int count, char** words) {
  return run_program_([=] { return program(count, const_cast<const char**>(words)); });
}

}  // namespace cuemu::command
