#include "cuemu/block_pool.h"

#include <mutex>
#include <vector>

namespace cuemu {
namespace {

struct Pool {
  std::mutex mutex;
  std::vector<std::unique_ptr<Block>> free;
};

// Never destroyed: a launch may be under way when the process ends.
Pool& pool() {
  static Pool* pool = new Pool;
  return *pool;
}

}  // namespace

std::unique_ptr<Block> take_block() {
  std::lock_guard<std::mutex> lock(pool().mutex);
  if (pool().free.empty()) return std::make_unique<Block>();
  std::unique_ptr<Block> block = std::move(pool().free.back());
  pool().free.pop_back();
  return block;
}

void give_back(std::unique_ptr<Block> block) {
  std::lock_guard<std::mutex> lock(pool().mutex);
  pool().free.push_back(std::move(block));
}

}  // namespace cuemu
