#include "common/recurrent_forward.h"
#include "ops/lstm/lstm.h"
#include "ops/lstm/lstm_cell.h"

namespace nnzoo {
namespace NNZOO_ISA {

void lstm_forward(const LstmForward& args) { recurrent_forward<LstmCell>(args); }

}  // namespace NNZOO_ISA
}  // namespace nnzoo
