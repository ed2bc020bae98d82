#include "cuemu/check/shadow.h"

namespace cuemu::check {

void Shadow::split(Page& page) {
  std::size_t count = kPageBytes >> page.shift;
  std::unique_ptr<Cell[]> halves(new Cell[2 * count]);
  for (std::size_t i = 0; i < count; ++i) halves[2 * i] = halves[2 * i + 1] = page.cells[i];
  page.cells = std::move(halves);
  --page.shift;
}

}  // namespace cuemu::check
