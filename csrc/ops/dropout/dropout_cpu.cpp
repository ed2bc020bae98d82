#include "common/elementwise.h"
#include "common/random.h"
#include "ops/dropout/dropout.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

template <class S>
class Loop {
  using T = Compute<S>;

 public:
  explicit Loop(const DropoutForward& args)
      : args_(args),
        dropout_(args.probability, static_cast<std::uint64_t>(args.seed)),
        input_(static_cast<const S*>(args.input)),
        bias_(static_cast<const S*>(args.bias)),
        residual_(static_cast<const S*>(args.residual)),
        output_(static_cast<S*>(args.output)) {}

  void run() const {
    const std::int64_t count = args_.rows * args_.columns;
    if (bias_) {
      parallel_for(
          args_.rows, args_.threads, [&](std::int64_t begin, std::int64_t end) { add_rows(begin, end); },
          1 + least_values / args_.columns);
    } else if (residual_) {
      write_each(count, output_, args_.threads, [&](std::int64_t i, int lanes) {
        return fma(load_lanes<T>(input_ + i, lanes), factors(i), load_lanes<T>(residual_ + i, lanes));
      });
    } else {
      write_each(count, output_, args_.threads,
                 [&](std::int64_t i, int lanes) { return load_lanes<T>(input_ + i, lanes) * factors(i); });
    }
  }

 private:
  static constexpr std::int64_t least_values = 1 << 12;  // worth a thread

  NNZOO_INLINE Vec<T> factors(std::int64_t i) const {
    return dropout_.template factors<T>(static_cast<std::uint64_t>(i));
  }

  void add_rows(std::int64_t begin, std::int64_t end) const {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t start = row * args_.columns;
      for_each_vector<T>(args_.columns, [&](std::int64_t column, int lanes) {
        const std::int64_t i = start + column;
        const Vec<T> sum = load_lanes<T>(input_ + i, lanes) + load_lanes<T>(bias_ + column, lanes);
        const Vec<T> behind = residual_ ? load_lanes<T>(residual_ + i, lanes) : Vec<T>::zero();
        store_lanes(fma(sum, factors(i), behind), output_ + i, lanes);
      });
    }
  }

  const DropoutForward& args_;
  const Dropout dropout_;
  const S *const input_, *const bias_, *const residual_;
  S* const output_;
};

}  // namespace

void dropout_forward(const DropoutForward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) { Loop<typename decltype(tag)::Type>(args).run(); });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
