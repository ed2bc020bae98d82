// A batch in pieces of some images, each small enough that its planes stay in the second-level cache of the thread that
// makes and multiplies them.
#pragma once

#include "ops/conv/conv_planes.h"

namespace nnzoo {
namespace NNZOO_ISA {

struct Pieces {
  std::int64_t images;  // of one piece
  std::int64_t count;   // 0: the batch is better taken as a whole
};

// `bytes` of planes and `pixels` an image has. Every piece packs the weight anew, which pays if that is small and a
// piece has pixels enough.
template <class T>
Pieces cut_into_pieces(std::int64_t batch, std::int64_t pixels, std::int64_t bytes, std::int64_t weight_bytes,
                       int threads) {
  constexpr std::int64_t least_pixels = 384;
  const std::int64_t room = cache_sizes().level2 / 2;
  if (batch <= 0 || bytes <= 0 || bytes > room || weight_bytes > room) return {batch, 0};
  std::int64_t images = equal_part(batch, room / bytes, 1);
  // Few pieces leave threads idle at the end.
  while (images > 1 && ceil_div(batch, images) < 2 * threads && (images + 1) / 2 * pixels >= least_pixels) {
    images = (images + 1) / 2;
  }
  const std::int64_t count = ceil_div(batch, images);
  return {images, images * pixels >= least_pixels && count >= threads ? count : 0};
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
