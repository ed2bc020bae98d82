#include "common/parallel.h"
#include "common/random.h"
#include "ops/recurrent_dropout/recurrent_dropout.h"

namespace nnzoo {
namespace NNZOO_ISA {

void recurrent_dropout(const RecurrentDropout& args) {
  const Dropout dropout(args.probability, static_cast<std::uint64_t>(args.seed));
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    using T = Compute<S>;
    const S* const input = static_cast<const S*>(args.input);
    S* const output = static_cast<S*>(args.output);
    parallel_for(
        args.count, args.threads,
        [&](std::int64_t begin, std::int64_t end) {
          for_each_vector<T>(end - begin, [&](std::int64_t i, int count) {
            const std::int64_t at = begin + i;
            const Vec<T> factor = dropout.factors<T>(static_cast<std::uint64_t>(args.first + at));
            const Vec<T> kept = Vec<T>::load(input + at, count) * factor;
            select(factor == Vec<T>::zero(), Vec<T>::zero(), kept).store(output + at, count);
          });
        },
        1 << 14);
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
