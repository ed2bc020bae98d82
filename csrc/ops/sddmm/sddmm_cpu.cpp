#include "ops/gat/columns.h"
#include "ops/gather_scatter/blocks.h"
#include "ops/sddmm/sddmm.h"

namespace nnzoo {
namespace NNZOO_ISA {

void sddmm(const Sddmm& args) {
  *args.valid = true;
  if (largest_group(args.in) < 0) return mark_invalid(args.valid);
  const EdgeGroups& in = args.in;
  dispatch_dtype(args.dtype, [&](auto type) {
    using S = typename decltype(type)::Type;
    using T = Compute<S>;
    const S *const x = static_cast<const S*>(args.x), *const y = static_cast<const S*>(args.y);
    S* const out = static_cast<S*>(args.out);
    const std::int64_t features = args.heads * args.channels, end = in.num_edges - 1;
    for_each_block(in, count_blocks(in), args.threads, args.valid,
                   [&](std::int64_t, std::int64_t first, std::int64_t last) {
                     Scratch scratch;
                     const Columns<T> columns = Columns<T>::make(args.heads, args.channels, scratch);
                     T* const dots = scratch.take<T>(args.heads);
                     for (std::int64_t i = first; i < last; ++i) {
                       for (std::int64_t k = in.start[i]; k < in.start[i + 1]; ++k) {
                         const std::int64_t later = k + Far::edges < end ? k + Far::edges : end;
                         for (std::int64_t f = 0; f < features && f < 512; f += 64 / std::int64_t(sizeof(S))) {
                           Far::fetch(x + in.node[later] * features + f);
                         }
                         head_sums(columns, dots, [&](const Column& column) {
                           return at<T>(x + in.node[k] * features, column) * at<T>(y + i * features, column);
                         });
                         S* const result = out + in.edge[k] * args.heads;
                         for (std::int64_t h = 0; h < args.heads; ++h) result[h] = from_float<S>(dots[h]);
                       }
                     }
                   });
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
