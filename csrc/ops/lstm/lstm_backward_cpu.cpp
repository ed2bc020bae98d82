#include "common/recurrent_backward.h"
#include "ops/lstm/lstm.h"
#include "ops/lstm/lstm_cell.h"

namespace nnzoo {
namespace NNZOO_ISA {

void lstm_backward(const LstmBackward& args) { recurrent_backward<LstmCell>(args); }

}  // namespace NNZOO_ISA
}  // namespace nnzoo
