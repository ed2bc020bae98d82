// `cp.async`.
#include "common/launch.cuh"
#include "common/mma.cuh"
#include "guarded.h"

using nnzoo::launch;

namespace {

enum class Wait { right, missing, too_weak };

// Copies in two groups, the second with zero fill; out[0..127] is read after the wait.
template <Wait wait>
__global__ void copy_async(const float* in, float* out) {
  float* buffer = nnzoo::dynamic_shared<float>();
  const int i = threadIdx.x * 4;
  nnzoo::cp_async<16>(&buffer[i], &in[i]);
  nnzoo::cp_async_commit();
  nnzoo::cp_async<16>(&buffer[128 + i], &in[128 + i], 8);
  nnzoo::cp_async_commit();
  if (wait == Wait::right) nnzoo::cp_async_wait<0>();
  if (wait == Wait::too_weak) nnzoo::cp_async_wait<1>();
  __syncthreads();
  for (int j = 0; j < 4; ++j) out[i + j] = buffer[i + j];
  for (int j = 0; j < 4; ++j) out[128 + i + j] = buffer[128 + i + j];
  nnzoo::cp_async_wait<0>();
}

}  // namespace

EXPORT(run_copy_async)(const float* in, float* out, int wait) {
  return guarded([&] {
    switch (wait) {
      case 0:
        return launch<copy_async<Wait::right>>(1, 32, 1024, nullptr, in, out);
      case 1:
        return launch<copy_async<Wait::missing>>(1, 32, 1024, nullptr, in, out);
      case 2:
        return launch<copy_async<Wait::too_weak>>(1, 32, 1024, nullptr, in, out);
    }
  });
}
