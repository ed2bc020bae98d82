#include "common/bind.h"
#include "ops/elementwise_loss/elementwise_loss.h"

namespace nnzoo {
namespace {

ElementwiseLoss call_of(Address input, Address target, Address weight, Address rise, bool weight_of_column,
                        bool rise_of_column, std::int64_t rows, std::int64_t columns, int kind, bool reduces,
                        double scale, int dtype, int threads) {
  return {pointer<const void>(input),
          pointer<const void>(target),
          pointer<const void>(weight),
          pointer<const void>(rise),
          weight_of_column,
          rise_of_column,
          rows,
          columns,
          static_cast<ElementLoss>(kind),
          reduces,
          scale,
          static_cast<DType>(dtype),
          usable_threads(threads)};
}

const Binder bind_elementwise_loss([](py::module_& module) {
  module.def("elementwise_loss_forward",
             [](Address loss, Address input, Address target, Address weight, Address rise, bool weight_of_column,
                bool rise_of_column, std::int64_t rows, std::int64_t columns, int kind, bool reduces, double scale,
                int dtype, int threads) {
               const ElementwiseLossForward args{call_of(input, target, weight, rise, weight_of_column, rise_of_column,
                                                         rows, columns, kind, reduces, scale, dtype, threads),
                                                 pointer<void>(loss)};
               py::gil_scoped_release release;
               elementwise_loss_forward(args);
             });
  module.def("elementwise_loss_backward",
             [](Address grad_loss, Address grad_input, Address input, Address target, Address weight, Address rise,
                bool weight_of_column, bool rise_of_column, std::int64_t rows, std::int64_t columns, int kind,
                bool reduces, double scale, int dtype, int threads) {
               const ElementwiseLossBackward args{call_of(input, target, weight, rise, weight_of_column, rise_of_column,
                                                          rows, columns, kind, reduces, scale, dtype, threads),
                                                  pointer<const void>(grad_loss), pointer<void>(grad_input)};
               py::gil_scoped_release release;
               elementwise_loss_backward(args);
             });
});

}  // namespace
}  // namespace nnzoo
