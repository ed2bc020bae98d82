// The CUDA kernels of `gather_scatter`. Arguments mean what they mean in gather_scatter.h (`walk`, `threads`, `valid`
// and, in forward, `out_of` are not read); all pointers are to device memory but `reduces`. Nothing is allocated and
// nothing waits. No atomics: results are the same in every run. An index out of range traps.
#pragma once

#include "ops/gather_scatter/gather_scatter.h"

namespace nnzoo::cuda {

void gather_scatter_forward(const GatherScatterForward& args, void* stream);
void gather_scatter_backward(const GatherScatterBackward& args, void* stream);

}  // namespace nnzoo::cuda
