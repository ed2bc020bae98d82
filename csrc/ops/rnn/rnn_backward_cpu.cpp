#include "common/recurrent_backward.h"
#include "ops/rnn/rnn.h"
#include "ops/rnn/rnn_cell.h"

namespace nnzoo {
namespace NNZOO_ISA {

void rnn_backward(const RnnBackward& args) { recurrent_backward<RnnCell>(args.layer, args.relu); }

}  // namespace NNZOO_ISA
}  // namespace nnzoo
