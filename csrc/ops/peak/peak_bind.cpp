#ifdef __linux__
#include <sched.h>
#endif

#include <pybind11/stl.h>

#include <vector>

#include "common/bind.h"
#include "ops/peak/peak.h"

namespace nnzoo {
namespace {

double peak_flops_of(std::int64_t iterations, int dtype, int threads) {
  threads = usable_threads(threads);
  std::vector<double> flops(threads, 0.0), checksum(threads, 0.0);
  const PeakFlops args{0.25, iterations, static_cast<DType>(dtype), threads, flops.data(), checksum.data()};
  {
    py::gil_scoped_release release;
    peak_flops(args);
  }
  double total = 0;
  for (const double done : flops) total += done;
  return total;
}

void triad(Address a, Address b, Address c, float scale, std::int64_t n, int threads) {
  if (a % 64 != 0 || n % 16 != 0) throw py::value_error("stream_triad: a must be 64-byte aligned, n a multiple of 16");
  const StreamTriad args{pointer<float>(a),      pointer<const float>(b), pointer<const float>(c), scale, n,
                         usable_threads(threads)};
  py::gil_scoped_release release;
  stream_triad(args);
}

// Ties thread i of the OpenMP team, this thread being the first, to cpus[i]; true if the system agreed for all.
bool bind_threads(const std::vector<std::vector<int>>& cpus) {
#ifdef __linux__
  const int threads = usable_threads(static_cast<int>(cpus.size()));
  int failures = 0;
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(+ : failures)
  for (int i = 0; i < threads; ++i) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const int cpu : cpus[i]) CPU_SET(cpu, &set);
    failures += sched_setaffinity(0, sizeof(set), &set) != 0;
  }
  return failures == 0;
#else
  return cpus.empty();
#endif
}

const Binder bind_peak([](py::module_& module) {
  module.def("peak_flops", &peak_flops_of, py::arg("iterations"), py::arg("dtype"), py::arg("threads"),
             "Multiply-adds in registers on every thread; returns the number of operations done.");
  module.def("stream_triad", &triad, "a = b + scale * c over n float32, past the caches.");
  module.def("bind_threads", &bind_threads, py::arg("cpus"),
             "Ties OpenMP thread i to the CPUs in the list cpus[i]; whether that worked for all.");
});

}  // namespace
}  // namespace nnzoo
