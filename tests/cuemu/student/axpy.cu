// y = alpha * x + y for any type, VEC elements per thread
namespace blas {

template <typename T, int VEC>
struct alignas(sizeof(T) * VEC) Pack {
  T v[VEC];
};

template <typename T, int VEC = 4>
__global__ void axpy(T alpha, const T* x, T* y, size_t n) {
  size_t first = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
  for (size_t i = first * VEC; i < n; i += (size_t)gridDim.x * blockDim.x * VEC) {
    Pack<T, VEC> a = *reinterpret_cast<const Pack<T, VEC>*>(x + i);
    Pack<T, VEC> b = *reinterpret_cast<Pack<T, VEC>*>(y + i);
    for (int k = 0; k < VEC; ++k) b.v[k] += alpha * a.v[k];
    *reinterpret_cast<Pack<T, VEC>*>(y + i) = b;
  }
}

template <typename T>
void run(T alpha, const T* x, T* y, size_t n, cudaStream_t stream = 0) {
  axpy<T, 4><<<(unsigned)((n + 1023) / 1024), 256, 0, stream>>>(alpha, x, y, n);
}

}  // namespace blas

void run_float(float alpha, const float* x, float* y, size_t n) { blas::run(alpha, x, y, n); }
