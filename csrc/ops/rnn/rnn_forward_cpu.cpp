#include "common/recurrent_forward.h"
#include "ops/rnn/rnn.h"
#include "ops/rnn/rnn_cell.h"

namespace nnzoo {
namespace NNZOO_ISA {

void rnn_forward(const RnnForward& args) { recurrent_forward<RnnCell>(args.layer, args.relu); }

}  // namespace NNZOO_ISA
}  // namespace nnzoo
