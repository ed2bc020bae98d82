"""Files that have never heard of this project, and where their lines are."""

KINDS = {"race", "out_of_bounds", "uninitialized", "misaligned", "deadlock", "missing_wait", "exited_lane"}


ADD = """#include <cuda_runtime.h>
__global__ void add(const float* a, float* b, int n, float f, double d) {
  int i = threadIdx.x;
  if (i < n) b[i] += a[i] * f * d;
}
template <int N> __global__ void fill(int* x) { x[threadIdx.x] = N; }
namespace one { __global__ void same(int* x) {} }
namespace two { __global__ void same(int* x) {} }
__global__ void take(float** rows, dim3 size) {}
"""


LAUNCH = "add.cu --kernel add --grid 1 --block 8 --args "


CRASHES = """#include <cstdio>
#include <cassert>
__global__ void beyond(float* x, int i) { x[i] = 1; }
__global__ void null(float* x) {
  float* none = 0;
  none[threadIdx.x] = 1;
}
__global__ void half_barrier(float* x) {
  if (threadIdx.x < 16)
    __syncthreads();
  else
    __syncwarp();
}
__global__ void spin(volatile int* x) { while (x[0] == 0) {} }
__global__ void talk(int* x) { printf("thread %d\\n", threadIdx.x); }
__global__ void trap(int* x) { __trap(); }
"""


def write(folder, text, name="kernel.cu"):
    path = folder / name
    path.write_text(text)
    return path


def line_of(path, text):
    (number,) = (number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line)
    return number
