// isa(), isas(), set_isa(name), usable_threads(requested) and build_info(), as Python sees them.
#include <dlfcn.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include <string>

#include "common/bind.h"
#include "common/cpu.h"

namespace nnzoo {
namespace {

py::tuple supported_isas() {
  py::list names;
  for (int isa = 0; isa <= static_cast<int>(best_isa()); ++isa) names.append(isa_name(static_cast<Isa>(isa)));
  return py::tuple(names);
}

void set_isa(const std::string& name) {
  for (int isa = 0; isa <= static_cast<int>(best_isa()); ++isa) {
    if (name == isa_name(static_cast<Isa>(isa))) return use_isa(static_cast<Isa>(isa));
  }
  throw py::value_error("isa must be one of " + py::repr(supported_isas()).cast<std::string>() +
                        " on this machine, got '" + name + "'");
}

py::dict build_info() {
  py::dict info;
#if defined(__clang__)
  info["compiler"] = "clang++";
#else
  info["compiler"] = "g++";
#endif
  info["compiler_version"] = __VERSION__;
  info["flags"] = NNZOO_BUILD_FLAGS;
#if defined(__x86_64__) && defined(NNZOO_AVX512_BF16)
  info["isas"] = py::make_tuple("baseline", "avx2", "avx512", "avx512_bf16");
#elif defined(__x86_64__)
  info["isas"] = py::make_tuple("baseline", "avx2", "avx512");
#else
  info["isas"] = py::make_tuple("baseline");
#endif
#ifdef _OPENMP
  // The runtime that the process resolved, which is torch's own when torch was imported first.
  Dl_info library;
  const bool found = dladdr(reinterpret_cast<void*>(&omp_get_max_threads), &library) != 0;
  info["openmp"] = _OPENMP;
  info["openmp_library"] = found ? py::object(py::str(library.dli_fname)) : py::none();
#else
  info["openmp"] = py::none();
  info["openmp_library"] = py::none();
#endif
  return info;
}

const Binder bind_cpu([](py::module_& module) {
  module.def("isa", [] { return isa_name(active_isa()); }, "The instruction set that kernels use.");
  module.def("isas", &supported_isas, "The instruction sets that run on this machine, lowest first.");
  module.def("set_isa", &set_isa, py::arg("name"), "Makes kernels use one of `isas()`; anything else is a ValueError.");
  module.def(
      "isa_for",
      [](unsigned leaf1_ecx, unsigned leaf7_ebx, unsigned leaf7_1_eax, unsigned xcr0) {
        return isa_name(isa_for({leaf1_ecx, leaf7_ebx, leaf7_1_eax, xcr0}));
      },
      py::arg("leaf1_ecx"), py::arg("leaf7_ebx"), py::arg("leaf7_1_eax"), py::arg("xcr0"),
      "The best instruction set of this build for a CPU that CPUID and XGETBV describe so.");
  module.def("usable_threads", &usable_threads, py::arg("requested"), "The threads a kernel really uses.");
  module.def("build_info", &build_info, "Compiler, flags, ISAs compiled, and the OpenMP runtime in use.");
});

}  // namespace
}  // namespace nnzoo
