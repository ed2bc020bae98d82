"""CUDA's syntax in files as they stand."""

import json

import numpy as np
import pytest
from strangers import line_of, write

from nnzoo_fast import cuemu

SYNTAX = r"""
#include "kernels/scale.cuh"
#include <cooperative_groups.h>
#include <cuda_fp16.h>
#include <iostream>
#include <vector>

// A comment with <<<1, 2>>> and extern __shared__ float commented[];
static const char* text = "kernel<<<1, 2>>>(x); extern __shared__ int quoted[];";
const char* raw = R"(raw "<<<3>>>" __global__ void no(int) {})";
#define LAUNCH(kernel, ...) kernel<<<dim3(1, 1), 32>>>(__VA_ARGS__)
#define BLOCK 32

extern __shared__ __align__(16) unsigned char bytes[];

namespace deep { namespace {
template <typename T, int N = 4, bool reverse = (N > 2)>
__global__ static void __launch_bounds__(BLOCK, 2) order(const T* in,
                                                         T* out) {
  extern __shared__ T words[];
  __shared__ volatile T table[2][N][BLOCK];
  int i = threadIdx.x;
  table[1][N - 1][i] = in[i];
  words[i] = reverse ? in[BLOCK - 1 - i] : table[1][N - 1][i];
  __syncthreads();
  out[i] = words[i];
}
}  // namespace
__device__ __noinline__ float twice(int i) { return 2 * reinterpret_cast<float*>(bytes)[i]; }
}

__global__ void through_file_scope(float* x) {
  float bytes_of_mine = x[threadIdx.x];
  reinterpret_cast<float*>(&bytes)[threadIdx.x] = bytes_of_mine;
  x[threadIdx.x] = deep::twice(threadIdx.x);
  { int bytes = 3; (void)bytes; }
}

extern "C" __global__ void grid3(int* out) {
  int place = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  out[place] = 1'00 * blockIdx.z + 10 * blockIdx.y + blockIdx.x;
}

__global__ void halves(const __half* x, half2* y, bool flag, char c, long long n, unsigned short s, void* any,
                       float4* v) {
  if (flag && c == 'c' && n == -(1LL << 40) && s == 65535) y[0] = __halves2half2(x[0], x[1]);
  v[0].w = static_cast<float*>(any)[0];
}

template <class T> struct Host {
  T* data;
  void go(int n) {
    auto kernel = &through_file_scope;
    kernel<<<1, n, n * sizeof(T)>>>(data);
    deep::order<T, (1 << 3)><<<dim3(1), {32u, 1u}, 32 * sizeof(T), 0>>>(data, data + 32);
    scale::by<<<(n + 31) / 32, 32>>>(data,  // a deduced template argument
                                     T(2), (const T*)NULL);
    scale::by<T><<<1, 32>>>(data, 1, NULL);
    LAUNCH(through_file_scope, data);
  }
};
"""
SCALE = """#pragma once
namespace scale {
template <typename T>
__global__ void by(T* x, T factor, const T* none) { if (!none) x[threadIdx.x] *= factor; }
}
"""


@pytest.fixture
def syntax(tmp_path):
    (tmp_path / "kernels").mkdir()
    write(tmp_path / "kernels", SCALE, "scale.cuh")
    return write(tmp_path, SYNTAX.replace("#include <cooperative_groups.h>\n", ""))


def test_cuda_syntax_works_as_it_stands(syntax):
    x = np.arange(32, dtype=np.float32)
    out = np.zeros_like(x)
    for name in ("order<float>", "deep::order<float, 8>", "::deep::order<float,4,true>"):
        out[:] = 0
        cuemu.compile(syntax, name)(x, out, grid=1, block=32, shared=128)
        assert (out == x[::-1]).all()
    cuemu.compile(syntax, "order< float , 1 >")(x, out, grid=1, block=32, shared=128)
    assert (out == x).all()
    cuemu.compile(syntax, "through_file_scope")(x, grid=1, block=32, shared=128)
    assert (x == 2 * np.arange(32)).all()
    cuemu.compile(syntax, "by<float>")(x, 0.5, np.zeros(0, np.float32), grid=1, block=32)


def test_launches_in_host_code(syntax, tmp_path, run):
    host = """
int main(int count, char** words) {
  std::vector<float> x(64);
  for (int i = 0; i < 32; ++i) x[i] = i;
  Host<float>{x.data()}.go(32);
  for (int i = 0; i < 32; ++i)
    if (x[i] != 8 * i || x[32 + i] != 2 * (31 - i)) return 1;
  std::cout << words[count - 1] << std::endl;
}
"""
    path = write(tmp_path, syntax.read_text() + host)
    code, out, _ = run("run", path, "--args", "one", "two")
    assert code == 0 and out.startswith("two\n")
    code, out, err = run("run", path, "--args", "one", "two", "--json")
    assert code == 0 and json.loads(out)["findings"] == [] and err == "two\n"


def test_grids_of_three_dimensions(syntax):
    out = np.zeros((3, 4, 5), np.int32)
    cuemu.compile(syntax, "grid3")(out, grid=(5, 4, 3), block=1)
    assert (out == np.fromfunction(lambda z, y, x: 100 * z + 10 * y + x, (3, 4, 5))).all()


def test_arguments_of_every_kind(syntax, run, tmp_path):
    arrays = {
        "x": np.array([1.5, -2], np.float16),
        "y": np.zeros((1, 2), np.float16),
        "any": np.array([7], ">f4"),  # big-endian
        "v": np.asfortranarray(np.zeros((2, 4), np.float32)),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    x, y, any_, v = (tmp_path / f"{name}.npy" for name in arrays)
    numbers = ["u8:1", "i32:0x63", f"i64:{-(1 << 40)}", "u32:65535"]
    words = ["--kernel", "halves", "--grid", 1, "--block", 1, "--args", x, y, *numbers, any_, v]
    assert run("run", syntax, *words, "--save", tmp_path / "to")[0] == 0
    assert (np.load(tmp_path / "to/y.npy") == arrays["x"]).all()
    assert (np.load(tmp_path / "to/v.npy") == [[0, 0, 0, 7], [0, 0, 0, 0]]).all()
    assert (np.load(tmp_path / "v.npy") == 0).all()  # the kernel had a copy


ATTRIBUTES = """#include <cooperative_groups.h>
#include <cstdio>
__global__ void __cluster_dims__(2, 1, 1) ranks(int* out) {
  out[blockIdx.x] = cooperative_groups::this_cluster().block_rank();
}
__global__ void large(int* out) {
  extern __shared__ int memory[];
  memory[threadIdx.x] = threadIdx.x;
  out[threadIdx.x] = memory[threadIdx.x];
}
int main(int count, char**) {
  int* out;
  cudaMallocManaged(&out, 128);
  ranks<<<4, 1>>>(out);
  cudaDeviceSynchronize();
  printf("%d %d %d %d\\n", out[0], out[1], out[2], out[3]);
  if (count > 1) cudaFuncSetAttribute(large, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 << 10);
  large<<<1, 32, 64 << 10>>>(out);
  cudaDeviceSynchronize();
}
"""


def test_attributes_of_kernels(run, tmp_path):
    """Clusters by __cluster_dims__; more than 48 KB of dynamic shared memory must be asked for."""
    path = write(tmp_path, ATTRIBUTES, "attributes.cu")
    code, out, _ = run("run", path, "--args", "asks")
    assert code == 0 and out.startswith("0 1 0 1")
    code, out, _ = run("run", path, "--json")
    (finding,) = json.loads(out)["findings"]
    assert (code, finding["kind"], finding["line"]) == (1, "failed", line_of(path, "large<<<"))
    assert "65536 bytes of dynamic shared memory" in finding["message"]
