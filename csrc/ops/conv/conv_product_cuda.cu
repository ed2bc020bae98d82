// The last rung's products on images with adjacent channels: the output, and the gradient of the input.
#include <stdexcept>

#include "ops/conv/conv_products.cuh"

namespace nnzoo::cuda {
namespace {

template <class Tile>
std::int64_t blocks_of(const Product& product, std::int64_t groups) {
  return ceil_div<std::int64_t>(product.windows.rows(), Tile::kRows) * ceil_div(product.columns, Tile::kColumns) *
         product.windows.class_count() * groups;
}

template <class Tile>
void launch_product(Product product, const ConvProduct& args, void* stream) {
  using T = typename Tile::T;
  const std::int64_t blocks = blocks_of<Tile>(product, args.shape.groups);
  if (blocks == 0) return;
  if (blocks >= std::int64_t{1} << 31) throw std::runtime_error("conv: more tiles than a grid has blocks");
  product.row_tiles = static_cast<unsigned>(ceil_div<std::int64_t>(product.windows.rows(), Tile::kRows));
  product.column_tiles = static_cast<unsigned>(ceil_div(product.columns, Tile::kColumns));
  const ResultImage<T> result(OutputImage<T>(args.result, args.before, args.activation), args.result_strides,
                              product.columns, product.windows, false);
  launch<product_kernel<Tile>>(static_cast<unsigned>(blocks), kProductThreads, Tile::shared_bytes(), stream, product,
                               static_cast<const T*>(args.image), static_cast<const T*>(args.weight),
                               static_cast<const T*>(args.bias), result);
}

// Wide tiles halve what the second-level cache is asked for, where there are enough of them.
template <class Math, int unit>
void launch_tensor_product(const Product& product, const ConvProduct& args, void* stream) {
  using Wide = ProductTile<Math, 128, 128, unit>;
  if (product.columns > 64 && blocks_of<Wide>(product, args.shape.groups) >= kMultiprocessors)
    return launch_product<Wide>(product, args, stream);
  launch_product<ProductTile<Math, 128, 64, unit>>(product, args, stream);
}

}  // namespace

void conv_product(const ConvProduct& args, bool allow_tf32, void* stream) {
  const ConvShape& shape = args.shape;
  Product product{Windows(shape, args.back), {}, static_cast<int>(args.units), 0, 0, 0};
  product.columns = static_cast<int>((args.back ? shape.in_channels : shape.out_channels) / shape.groups);
  for (int i = 0; i < 4; ++i) product.image_strides[i] = args.image_strides[i];
  dispatch_dtype(args.dtype, [&](auto element) {
    using T = decltype(element);
    if constexpr (sizeof(T) == 2) {
      if (args.unit == 4) return launch_product<ProductTile<Tensor<T>, 128, 64, 4>>(product, args, stream);
      launch_tensor_product<Tensor<T>, 8>(product, args, stream);
    } else {
      if constexpr (sizeof(T) == 4) {
        if (allow_tf32) return launch_tensor_product<Tensor<T>, 4>(product, args, stream);
      }
      launch_product<ProductTile<Fma<T>, 128, 64, kPackSize<T>>>(product, args, stream);
    }
  });
}

}  // namespace nnzoo::cuda
