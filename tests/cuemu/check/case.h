// A case is a kernel with a planted bug and its right twin, chosen by a template parameter. The line that the checker
// must name ends in `// <kind>`; tests/test_cuemu_check.py reads these marks.
//
//     CASE(name, blocks, threads, shared_bytes)
//
// registers `template <bool right> name(const float* in, float* out)`, where `in` has 1024 numbers and `out` room for
// 1024, not initialised. Both are aligned to 256 bytes.
#pragma once

#include "common/launch.cuh"

struct Case {
  const char* name;
  void (*run)(bool right, const float* in, float* out);
  const Case* next;

  Case(const char* name_, void (*run_)(bool, const float*, float*)) : name(name_), run(run_), next(first()) {
    first() = this;
  }
  static const Case*& first() {
    static const Case* case_ = nullptr;
    return case_;
  }
};

#define CASE(name, blocks, threads, shared)                                              \
  static const Case name##_case(#name, [](bool right, const float* in, float* out) {     \
    if (right) {                                                                         \
      nnzoo::launch<name<true>>(dim3(blocks), dim3(threads), shared, nullptr, in, out);  \
    } else {                                                                             \
      nnzoo::launch<name<false>>(dim3(blocks), dim3(threads), shared, nullptr, in, out); \
    }                                                                                    \
  });
