#include "common/recurrent_backward.h"
#include "ops/gru/gru.h"
#include "ops/gru/gru_cell.h"

namespace nnzoo {
namespace NNZOO_ISA {

void gru_backward(const GruBackward& args) { recurrent_backward<GruCell>(args); }

}  // namespace NNZOO_ISA
}  // namespace nnzoo
