// The shadow of a piece of memory: for every few bytes, who wrote them last and who has read them since.
//
// Memory is cut into pages, and a page into cells. A page begins with cells of 16 bytes and is cut finer at the first
// access that is smaller, so that neighbours never disturb each other and vectors stay cheap.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "cuemu/check/access.h"

namespace cuemu::check {

struct Cell {
  Access write;
  // The latest reader, the latest other thread before it, and the latest other warp before it: a write that is in order
  // with all three, but not with some fourth, is the price for a bounded size.
  Access reads[3];
};

class Shadow {
 public:
  explicit Shadow(std::size_t bytes) : pages_((bytes + kPageBytes - 1) / kPageBytes) {}

  // Calls `visit(cell, bytes)` for all cells of [offset, offset + bytes).
  template <class Visit>
  void visit(std::size_t offset, std::size_t bytes, Visit visit) {
    while (bytes > 0) {
      Page& page = pages_[offset / kPageBytes];
      std::size_t in_page = offset % kPageBytes;
      std::size_t end = in_page + bytes < kPageBytes ? in_page + bytes : kPageBytes;
      fit(page, in_page, end);
      std::size_t cell_bytes = std::size_t{1} << page.shift;
      for (std::size_t at = in_page; at < end; at += cell_bytes) visit(page.cells[at >> page.shift], cell_bytes);
      offset += end - in_page;
      bytes -= end - in_page;
    }
  }

 private:
  static constexpr std::size_t kPageBytes = 1024;
  static constexpr unsigned kCoarsest = 4;

  struct Page {
    std::unique_ptr<Cell[]> cells;
    unsigned shift = kCoarsest;
  };

  // Cuts the page until its cells begin and end where the access does.
  static void fit(Page& page, std::size_t begin, std::size_t end) {
    if (!page.cells) page.cells.reset(new Cell[kPageBytes >> page.shift]());
    while ((begin | end) & ((std::size_t{1} << page.shift) - 1)) split(page);
  }
  static void split(Page& page);

  std::vector<Page> pages_;
};

}  // namespace cuemu::check
