#include "cuemu/bulk_copy.h"

#include <cstring>
#include <functional>
#include <vector>

#include "cuemu/block.h"
#include "cuemu/mbarrier.h"
#include "cuemu/observer.h"
#include "cuemu/tensor_map_contents.h"

namespace cuemu {
namespace {

constexpr unsigned kGranule = 16;           // bytes of the smallest piece that is moved
constexpr unsigned kTensorAlignment = 128;  // of a box in shared memory

bool is_multiple(const void* address, unsigned alignment) {
  return reinterpret_cast<std::uintptr_t>(address) % alignment == 0;
}

// Where a copy towards shared memory goes to, and who receives it.
struct Target {
  char* shared;
  std::uint64_t* barrier;
  Block* block;
};

std::vector<Target> targets(void* shared, std::uint64_t* barrier, unsigned blocks, Site site) {
  const Neighbours& neighbours = current_block->neighbours();
  const unsigned count = neighbours.cluster_size.x * neighbours.cluster_size.y * neighbours.cluster_size.z;
  if (blocks >> count) fail("the cluster has no block of that rank to copy to", site);
  std::vector<Target> found;
  if (blocks == 0) {
    Block* owner = current_block;
    for (unsigned rank = 0; rank < count; ++rank)
      if (neighbours.cluster[rank]->has_dynamic_shared(shared)) owner = neighbours.cluster[rank];
    found.push_back({static_cast<char*>(shared), barrier, owner});
  }
  for (unsigned rank = 0; rank < count; ++rank)
    if (blocks >> rank & 1)
      found.push_back({static_cast<char*>(map_shared(shared, rank, site)),
                       static_cast<std::uint64_t*>(map_shared(barrier, rank, site)), neighbours.cluster[rank]});
  return found;
}

// The copy belongs to the thread that starts it; who waits at the barrier has seen it.
void tell_copy_to_shared(const std::vector<Target>& to, const void* from, unsigned bytes, Site site) {
  if (!observer) return;
  observer->engine_begins();
  observer->engine_access(from, bytes, false, site);
  for (const Target& target : to) {
    observer->bulk_store(target.shared, bytes, site);
    observer->releases(target.barrier);
  }
}

void tell_copy_to_global(const void* from, const void* to, unsigned bytes, Site site) {
  observer->engine_access(from, bytes, false, site);
  observer->engine_access(to, bytes, true, site);
}

// Pieces of a box, up to 16 bytes each, at their places in shared memory: `visit(offset, address, bytes)`, where the
// address is null outside of the tensor.
template <class Visit>
void for_each_piece(const TensorMapContents& map, const int (&start)[TensorMapContents::kMaxRank], Visit visit) {
  const unsigned per_piece = kGranule / map.element_bytes;
  std::uint64_t rows = 1;
  for (unsigned i = 1; i < map.rank; ++i) rows *= map.box[i];
  std::uintptr_t offset = 0;
  for (std::uint64_t row = 0; row < rows; ++row) {
    char* address = map.address;
    bool inside = true;
    std::uint64_t rest = row;
    for (unsigned i = 1; i < map.rank; ++i) {
      const std::int64_t index =
          start[i] + static_cast<std::int64_t>(rest % map.box[i]) * static_cast<int>(map.element_strides[i]);
      inside = inside && index >= 0 && static_cast<std::uint64_t>(index) < map.sizes[i];
      address += index * static_cast<std::int64_t>(map.strides[i - 1]);
      rest /= map.box[i];
    }
    for (unsigned first = 0; first < map.box[0]; first += per_piece, offset += kGranule) {
      const std::int64_t begin = start[0] + static_cast<std::int64_t>(first);
      const bool is_whole = begin >= 0 && static_cast<std::uint64_t>(begin) + per_piece <= map.sizes[0];
      if (map.element_strides[0] == 1 && (is_whole || !inside)) {
        visit(offset, inside ? address + begin * map.element_bytes : nullptr, kGranule);
        continue;
      }
      for (unsigned j = 0; j < per_piece; ++j) {
        const std::int64_t index =
            start[0] + static_cast<std::int64_t>(first + j) * static_cast<int>(map.element_strides[0]);
        const bool exists = inside && index >= 0 && static_cast<std::uint64_t>(index) < map.sizes[0];
        visit(offset + j * map.element_bytes, exists ? address + index * map.element_bytes : nullptr,
              map.element_bytes);
      }
    }
  }
}

char* swizzled(char* base, std::uintptr_t offset, unsigned span) {
  return reinterpret_cast<char*>(swizzle_address(reinterpret_cast<std::uintptr_t>(base) + offset, span));
}

unsigned box_bytes(const TensorMapContents& map) {
  unsigned bytes = map.element_bytes;
  for (unsigned i = 0; i < map.rank; ++i) bytes *= map.box[i];
  return bytes;
}

struct Box {
  TensorMapContents map;
  int start[TensorMapContents::kMaxRank];
};

// Both are copied: the map may be a parameter of the kernel, the coordinates are local variables.
Box read_box(const CUtensorMap* map, const int* coordinates, int rank, const void* shared, Site site) {
  Box box{};
  std::memcpy(&box.map, map, sizeof box.map);
  if (box.map.rank != rank) fail("the tensor map has another rank than the copy", site);
  if (!is_multiple(map, 64)) fail("a tensor map is aligned to 64 bytes", site, Fault::misaligned);
  if (!is_multiple(shared, kTensorAlignment))
    fail("a box in shared memory is aligned to 128 bytes", site, Fault::misaligned);
  for (int i = 0; i < rank; ++i) box.start[i] = coordinates[i];
  return box;
}

void start_copy_to_shared(const std::vector<Target>& to, unsigned bytes, std::function<void(char*)> copy, Site site) {
  for (const Target& target : to)
    target.block->defer([=] {
      copy(target.shared);
      if (const char* error = mbarrier_complete_bytes(target.barrier, bytes)) target.block->fail_outside(error, site);
    });
}

void check_linear(const void* shared, const void* global, unsigned bytes, Site site) {
  if (bytes % kGranule) fail("a bulk copy moves a multiple of 16 bytes", site, Fault::misaligned);
  if (!is_multiple(shared, kGranule) || !is_multiple(global, kGranule))
    fail("the addresses of a bulk copy are aligned to 16 bytes", site, Fault::misaligned);
}

}  // namespace

void bulk_copy_to_shared(void* shared, const void* from, unsigned bytes, std::uint64_t* barrier, unsigned blocks,
                         Site site) {
  check_linear(shared, from, bytes, site);
  const std::vector<Target> to = targets(shared, barrier, blocks, site);
  tell_copy_to_shared(to, from, bytes, site);
  start_copy_to_shared(to, bytes, [=](char* to) { std::memcpy(to, from, bytes); }, site);
}

void bulk_copy_to_global(void* global, const void* shared, unsigned bytes, Site site) {
  check_linear(shared, global, bytes, site);
  if (observer) {
    observer->engine_begins();
    tell_copy_to_global(shared, global, bytes, site);
  }
  current_block->bulk_copies().push([=] { std::memcpy(global, shared, bytes); }, site);
}

void tensor_copy_to_shared(void* shared, const CUtensorMap* map, const int* coordinates, int rank,
                           std::uint64_t* barrier, unsigned blocks, Site site) {
  const Box box = read_box(map, coordinates, rank, shared, site);
  const unsigned bytes = box_bytes(box.map);
  const std::vector<Target> to = targets(shared, barrier, blocks, site);
  if (observer) {
    observer->engine_begins();
    for_each_piece(box.map, box.start, [&](std::uintptr_t offset, const char* element, unsigned size) {
      if (element) observer->engine_access(element, size, false, site);
      for (const Target& target : to)
        observer->bulk_store(swizzled(target.shared, offset, box.map.swizzle_span), size, site);
    });
    for (const Target& target : to) observer->releases(target.barrier);
  }
  auto copy = [box](char* to) {
    for_each_piece(box.map, box.start, [&](std::uintptr_t offset, const char* element, unsigned size) {
      char* place = swizzled(to, offset, box.map.swizzle_span);
      if (element)
        std::memcpy(place, element, size);
      else
        std::memset(place, 0, size);
    });
  };
  start_copy_to_shared(to, bytes, copy, site);
}

void tensor_copy_to_global(const CUtensorMap* map, const int* coordinates, int rank, const void* shared, Site site) {
  const Box box = read_box(map, coordinates, rank, shared, site);
  char* from = static_cast<char*>(const_cast<void*>(shared));
  auto copy = [box, from](auto visit) {
    for_each_piece(box.map, box.start, [&](std::uintptr_t offset, char* element, unsigned size) {
      if (element) visit(element, swizzled(from, offset, box.map.swizzle_span), size);
    });
  };
  if (observer) {
    observer->engine_begins();
    copy([&](const char* to, const char* place, unsigned size) { tell_copy_to_global(place, to, size, site); });
  }
  current_block->bulk_copies().push(
      [=] { copy([](char* to, const char* place, unsigned size) { std::memcpy(to, place, size); }); }, site);
}

void proxy_fence() {
  if (observer) observer->proxy_fence();
}

void commit_bulk_copies() { current_block->bulk_copies().commit(); }
void wait_bulk_copies(unsigned groups_left) { current_block->bulk_copies().wait(groups_left); }

}  // namespace cuemu
