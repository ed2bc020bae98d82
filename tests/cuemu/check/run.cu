// What tests/test_cuemu_check.py calls.
#include <string>

#include "case.h"
#include "guarded.h"

EXPORT(case_name)(int index) {
  const Case* found = Case::first();
  for (int i = 0; found && i < index; ++i) found = found->next;
  return found ? found->name : nullptr;
}

EXPORT(run_case)(const char* name, int right, const float* in, float* out) {
  return guarded([&] {
    for (const Case* found = Case::first(); found; found = found->next)
      if (std::string(found->name) == name) found->run(right != 0, in, out);
  });
}
