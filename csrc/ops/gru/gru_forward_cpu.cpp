#include "common/recurrent_forward.h"
#include "ops/gru/gru.h"
#include "ops/gru/gru_cell.h"

namespace nnzoo {
namespace NNZOO_ISA {

void gru_forward(const GruForward& args) { recurrent_forward<GruCell>(args); }

}  // namespace NNZOO_ISA
}  // namespace nnzoo
