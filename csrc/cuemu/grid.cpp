// A grid: its blocks in the order of the schedule, spread over OS threads.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>

#include "cuemu/block.h"
#include "cuemu/observer.h"

namespace cuemu {
namespace {

constexpr std::size_t kMaxSharedBytes = 227 << 10;  // compute capability 9.0
constexpr unsigned kMaxWorkers = 16;                // each maps up to 1,024 stacks

unsigned long parse_number(const char* text, const char* variable) {
  char* end = nullptr;
  unsigned long value = std::strtoul(text, &end, 10);
  if (end == text || *end)
    throw std::invalid_argument(std::string(variable) + ": expected a number, got '" + text + "'");
  return value;
}

// CUEMU_ORDER=forward|reverse|random:SEED; read at every launch, so that a test can change it.
Schedule schedule_from_environment() {
  const char* text = std::getenv("CUEMU_ORDER");
  std::string order = text && *text ? text : "forward";
  if (order == "forward") return {Order::forward, 0};
  if (order == "reverse") return {Order::reverse, 0};
  if (order.rfind("random:", 0) == 0) return {Order::random, parse_number(order.c_str() + 7, "CUEMU_ORDER")};
  throw std::invalid_argument("CUEMU_ORDER: expected forward, reverse or random:SEED, got '" + order + "'");
}

unsigned workers_from_environment() {
  const char* text = std::getenv("CUEMU_THREADS");
  unsigned long wanted = text && *text ? parse_number(text, "CUEMU_THREADS") : std::thread::hardware_concurrency();
  return static_cast<unsigned>(std::clamp<unsigned long>(wanted, 1, kMaxWorkers));
}

// "scale<float>" from the signature of a `launch<scale<float>>`, in which g++ writes "[with auto kernel = scale<float>;
// ...]".
std::string kernel_name(const Grid& grid) {
  std::string name = grid.kernel;
  const std::string before = "kernel = ";
  std::size_t start = name.find(before);
  if (start == std::string::npos) return name;
  name = name.substr(start + before.size());
  return name.substr(0, name.find_first_of(";]"));
}

void check(const Grid& grid) {
  auto refuse = [&](const char* what) {
    throw std::invalid_argument("kernel " + kernel_name(grid) + " can't be launched: " + what);
  };
  for (unsigned size : grid.grid)
    if (size == 0) refuse("a grid size is 0");
  for (unsigned size : grid.block)
    if (size == 0) refuse("a block size is 0");
  if (grid.grid[0] > 0x7fffffffu || grid.grid[1] > 65535 || grid.grid[2] > 65535)
    refuse("the grid is larger than 2^31-1 x 65535 x 65535");
  if (grid.block[0] > 1024 || grid.block[1] > 1024 || grid.block[2] > 64)
    refuse("the block is larger than 1024 x 1024 x 64");
  if (std::size_t{grid.block[0]} * grid.block[1] * grid.block[2] > kMaxThreads)
    refuse("the block has more than 1024 threads");
  if (grid.shared_bytes > kMaxSharedBytes) refuse("more than 227 KB of shared memory");
}

// Blocks keep their stacks from one launch to the next. Never destroyed: a launch may be under way when the process
// ends.
class BlockPool {
 public:
  std::unique_ptr<Block> take() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (free_.empty()) return std::make_unique<Block>();
    std::unique_ptr<Block> block = std::move(free_.back());
    free_.pop_back();
    return block;
  }
  void give_back(std::unique_ptr<Block> block) {
    std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(std::move(block));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Block>> free_;
};

BlockPool& pool() {
  static BlockPool* pool = new BlockPool;
  return *pool;
}

}  // namespace

void run_grid(const Grid& grid, void (*entry)(const void*), const void* body) {
  check(grid);
  Schedule schedule = schedule_from_environment();
  std::size_t count = std::size_t{grid.grid[0]} * grid.grid[1] * grid.grid[2];
  std::vector<std::size_t> shuffled;
  if (schedule.order == Order::random) {
    shuffled.resize(count);
    std::iota(shuffled.begin(), shuffled.end(), std::size_t{0});
    std::shuffle(shuffled.begin(), shuffled.end(), std::mt19937_64(schedule.seed));
  }

  // A checker sees one block at a time.
  unsigned workers = observer ? 1 : workers_from_environment();
  if (observer) observer->launch_begins(grid, kernel_name(grid));

  std::atomic<std::size_t> next{0};
  std::atomic<bool> failed{false};
  std::string error;
  auto work = [&] {
    std::unique_ptr<Block> block = pool().take();
    for (std::size_t i; !failed && (i = next++) < count;) {
      if (schedule.order == Order::reverse) i = count - 1 - i;
      if (schedule.order == Order::random) i = shuffled[i];
      uint3 index{static_cast<unsigned>(i % grid.grid[0]), static_cast<unsigned>(i / grid.grid[0] % grid.grid[1]),
                  static_cast<unsigned>(i / grid.grid[0] / grid.grid[1])};
      Schedule own{schedule.order, schedule.seed * 0x9e3779b97f4a7c15u + i};
      try {
        block->run(grid, index, own, entry, body);
      } catch (const std::exception& exception) {
        if (!failed.exchange(true))
          error = "kernel " + kernel_name(grid) + ", block (" + std::to_string(index.x) + ", " +
                  std::to_string(index.y) + ", " + std::to_string(index.z) + "), " + exception.what();
      }
    }
    pool().give_back(std::move(block));
  };
  // The caller is one of the workers.
  std::vector<std::thread> helpers(std::min<std::size_t>(workers, count) - 1);
  for (std::thread& helper : helpers) helper = std::thread(work);
  work();
  for (std::thread& helper : helpers) helper.join();
  bool is_reported = observer && observer->launch_ends();
  if (failed && !is_reported) throw std::runtime_error(error);
}

}  // namespace cuemu
