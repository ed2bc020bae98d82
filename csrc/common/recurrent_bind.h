// What the bindings of the recurrent ops share: tuples of sizes and addresses in, the structs of recurrent.h out.
#pragma once

#include <pybind11/stl.h>

#include <array>
#include <vector>

#include "common/bind.h"
#include "common/recurrent.h"

namespace nnzoo {

// steps, batch, rows, in_features, hidden, projection, batch_sizes, dtype, threads
using RecurrentSizes = std::array<std::int64_t, 9>;
using RecurrentWeightAddresses = std::array<Address, 5>;
// input, h0, c0, output, h_n, c_n, gates, cells
using RecurrentForwardAddresses = std::pair<RecurrentWeightAddresses, std::array<Address, 8>>;
// input, h0, c0, output, gates, cells, grad_output, grad_h_n, grad_c_n; the gradients of input, w_ih, w_hh, b_ih, b_hh,
// w_hr, h0, c0
using RecurrentBackwardAddresses = std::tuple<RecurrentWeightAddresses, std::array<Address, 9>, std::array<Address, 8>>;

inline RecurrentShape recurrent_shape(const RecurrentSizes& s) {
  return {s[0],
          s[1],
          s[2],
          s[3],
          s[4],
          s[5],
          pointer<const std::int64_t>(static_cast<Address>(s[6])),
          static_cast<DType>(s[7]),
          usable_threads(static_cast<int>(s[8]))};
}

inline RecurrentWeights recurrent_weights(const RecurrentWeightAddresses& w) {
  return {pointer<const void>(w[0]), pointer<const void>(w[1]), pointer<const void>(w[2]), pointer<const void>(w[3]),
          pointer<const void>(w[4])};
}

// The directions of a layer, of which the second runs in reverse.
inline std::vector<RecurrentForward> recurrent_forward(const RecurrentSizes& sizes,
                                                       const std::vector<RecurrentForwardAddresses>& directions,
                                                       std::int64_t output_stride) {
  std::vector<RecurrentForward> found;
  for (const auto& [weights, t] : directions) {
    found.push_back({recurrent_shape(sizes), !found.empty(), recurrent_weights(weights), pointer<const void>(t[0]),
                     pointer<const void>(t[1]), pointer<const void>(t[2]), pointer<void>(t[3]), output_stride,
                     pointer<void>(t[4]), pointer<void>(t[5]), pointer<void>(t[6]), pointer<void>(t[7])});
  }
  return found;
}

inline std::vector<RecurrentBackward> recurrent_backward(const RecurrentSizes& sizes,
                                                         const std::vector<RecurrentBackwardAddresses>& directions,
                                                         std::int64_t output_stride, std::int64_t grad_output_stride) {
  std::vector<RecurrentBackward> found;
  for (const auto& [weights, t, g] : directions) {
    found.push_back({recurrent_shape(sizes),     !found.empty(),
                     recurrent_weights(weights), pointer<const void>(t[0]),
                     pointer<const void>(t[1]),  pointer<const void>(t[2]),
                     pointer<const void>(t[3]),  output_stride,
                     pointer<const void>(t[4]),  pointer<const void>(t[5]),
                     pointer<const void>(t[6]),  grad_output_stride,
                     pointer<const void>(t[7]),  pointer<const void>(t[8]),
                     pointer<void>(g[0]),        pointer<void>(g[1]),
                     pointer<void>(g[2]),        pointer<void>(g[3]),
                     pointer<void>(g[4]),        pointer<void>(g[5]),
                     pointer<void>(g[6]),        pointer<void>(g[7])});
  }
  return found;
}

template <class Direction>
RecurrentLayer<Direction> recurrent_layer(const std::vector<Direction>& directions) {
  return {directions.data(), static_cast<int>(directions.size())};
}

}  // namespace nnzoo
