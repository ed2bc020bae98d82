#include "common/gemm.h"
#include "ops/edge_mlp/product.h"

namespace nnzoo {
namespace NNZOO_ISA {

template <class T>
std::int64_t rows_of_tile(std::int64_t hidden, std::int64_t outputs) {
  constexpr std::int64_t step = Tile<T>::rows;
  const std::int64_t bytes = (2 * hidden + outputs + 1) * std::int64_t(sizeof(T));
  const std::int64_t rows = cache_sizes().level2 / 4 / bytes;
  return (rows < 4 * step ? 4 * step : rows > 256 ? 256 : rows) / step * step;
}

template <class T>
std::int64_t packed_rows_size(std::int64_t rows, std::int64_t hidden) {
  return a_panels_size<T>(rows, hidden);
}

template <class T>
std::int64_t packed_weight_size(std::int64_t hidden, std::int64_t outputs) {
  return b_panels_size<T>(outputs, hidden);
}

template <class S>
void pack_weight(const S* weight, std::int64_t hidden, std::int64_t outputs, Compute<S>* packed) {
  pack_b_panels<Compute<S>>(Strided<S>{weight, hidden, 1}, 0, outputs, 0, hidden, packed);
}

template <class T>
void multiply_rows(const T* rows, std::int64_t count, std::int64_t hidden, std::int64_t outputs, const T* packed_weight,
                   T* packed_rows, T* messages) {
  pack_a_panels<T>(Strided<T>{rows, hidden, 1}, 0, count, 0, hidden, packed_rows);
  multiply_panels<T>(count, outputs, hidden, packed_rows, packed_weight, Store<T, T>{messages, outputs});
}

#define NNZOO_INSTANTIATE(T)                                               \
  template std::int64_t rows_of_tile<T>(std::int64_t, std::int64_t);       \
  template std::int64_t packed_rows_size<T>(std::int64_t, std::int64_t);   \
  template std::int64_t packed_weight_size<T>(std::int64_t, std::int64_t); \
  template void pack_weight<T>(const T*, std::int64_t, std::int64_t, T*);  \
  template void multiply_rows<T>(const T*, std::int64_t, std::int64_t, std::int64_t, const T*, T*, T*);
NNZOO_INSTANTIATE(float)
NNZOO_INSTANTIATE(double)
#undef NNZOO_INSTANTIATE
template void pack_weight<BFloat16>(const BFloat16*, std::int64_t, std::int64_t, float*);

}  // namespace NNZOO_ISA
}  // namespace nnzoo
