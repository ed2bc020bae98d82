// messages = hidden @ weight^T, a tile of edges at a time. It stands apart from the walk over the edges because the
// register tiles of common/gemm.h and those of gather_scatter have the same names. T is float or double.
#pragma once

#include "common/dtype.h"

namespace nnzoo {
namespace NNZOO_ISA {

// How many edges make a tile: hidden rows, these packed, and messages take a quarter of the second-level cache.
template <class T>
std::int64_t rows_of_tile(std::int64_t hidden, std::int64_t outputs);

// Elements that `rows` hidden rows take, packed, and that the weight does.
template <class T>
std::int64_t packed_rows_size(std::int64_t rows, std::int64_t hidden);
template <class T>
std::int64_t packed_weight_size(std::int64_t hidden, std::int64_t outputs);

// weight: [outputs, hidden]
template <class S>
void pack_weight(const S* weight, std::int64_t hidden, std::int64_t outputs, Compute<S>* packed);

// rows: [count, hidden], messages: [count, outputs]; `packed_rows` is workspace.
template <class T>
void multiply_rows(const T* rows, std::int64_t count, std::int64_t hidden, std::int64_t outputs, const T* packed_weight,
                   T* packed_rows, T* messages);

}  // namespace NNZOO_ISA
}  // namespace nnzoo
