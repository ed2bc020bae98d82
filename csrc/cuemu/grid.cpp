// A grid: its blocks in the order of the schedule, spread over OS threads.
#include <algorithm>
#include <atomic>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>

#include "cuemu/block.h"
#include "cuemu/block_pool.h"
#include "cuemu/device_limits.h"
#include "cuemu/observer.h"
#include "cuemu/team.h"

namespace cuemu {
namespace {

constexpr std::size_t kCoResidentThreads = 16384;  // a process may map 65,530 regions, of which a stack takes two

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

std::size_t block_count(const Grid& grid) { return std::size_t{grid.grid[0]} * grid.grid[1] * grid.grid[2]; }

unsigned cluster_blocks(const Grid& grid) { return grid.cluster[0] * grid.cluster[1] * grid.cluster[2]; }

void check(const Grid& grid) {
  auto refuse = [&](const std::string& what) {
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
  const std::size_t threads = std::size_t{grid.block[0]} * grid.block[1] * grid.block[2];
  if (threads > kThreadsPerBlock) refuse("the block has more than 1024 threads");
  if (grid.shared_bytes > kSharedPerBlock) refuse("more than 227 KB of shared memory");
  for (int axis = 0; axis < 3; ++axis)
    if (grid.cluster[axis] == 0 || grid.grid[axis] % grid.cluster[axis])
      refuse("the grid is no multiple of the cluster");
  if (cluster_blocks(grid) > kBlocksPerCluster) refuse("a cluster has at most 16 blocks");
  if (!grid.cooperative) return;
  const std::size_t room =
      std::size_t{kMultiprocessors} * co_resident_blocks(static_cast<unsigned>(threads), grid.shared_bytes);
  if (block_count(grid) > room)
    refuse("a cooperative launch of " + std::to_string(block_count(grid)) + " blocks, of which the GPU holds " +
           std::to_string(room) + " at a time");
  if (block_count(grid) * threads > kCoResidentThreads)
    refuse("a cooperative launch of more than " + std::to_string(kCoResidentThreads) +
           " threads, which is what the emulator holds at a time");
}

uint3 block_index(const Grid& grid, std::size_t number) {
  return {static_cast<unsigned>(number % grid.grid[0]), static_cast<unsigned>(number / grid.grid[0] % grid.grid[1]),
          static_cast<unsigned>(number / grid.grid[0] / grid.grid[1])};
}

// The blocks of cluster `number` by rank.
void append_cluster(const Grid& grid, std::size_t number, std::vector<uint3>& indices) {
  const unsigned (&size)[3] = grid.cluster;
  Grid clusters = grid;
  for (int axis = 0; axis < 3; ++axis) clusters.grid[axis] = grid.grid[axis] / size[axis];
  const uint3 first = block_index(clusters, number);
  for (unsigned z = 0; z < size[2]; ++z)
    for (unsigned y = 0; y < size[1]; ++y)
      for (unsigned x = 0; x < size[0]; ++x)
        indices.push_back({first.x * size[0] + x, first.y * size[1] + y, first.z * size[2] + z});
}

}  // namespace

void run_grid(const Grid& grid, void (*entry)(const void*), const void* body) {
  check(grid);
  const Schedule schedule = schedule_from_environment();
  const std::size_t blocks = block_count(grid);
  const std::size_t clusters = blocks / cluster_blocks(grid);
  const bool alone = cluster_blocks(grid) == 1 && !grid.cooperative;
  const std::size_t count = alone ? blocks : grid.cooperative ? 1 : clusters;
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
  auto run_alone = [&](Block& block, std::size_t number, Schedule own) {
    const uint3 index = block_index(grid, number);
    try {
      block.run(grid, index, own, nullptr, entry, body);
    } catch (const std::exception& exception) {
      throw std::runtime_error(name_block(index) + exception.what());
    }
  };
  auto run_team = [&](std::size_t number, Schedule own) {
    std::vector<uint3> indices;
    if (grid.cooperative) {
      for (std::size_t cluster = 0; cluster < clusters; ++cluster) append_cluster(grid, cluster, indices);
    } else {
      append_cluster(grid, number, indices);
    }
    Team(grid, indices, own).run(entry, body);
  };
  auto work = [&] {
    std::unique_ptr<Block> block = take_block();
    for (std::size_t i; !failed && (i = next++) < count;) {
      if (schedule.order == Order::reverse) i = count - 1 - i;
      if (schedule.order == Order::random) i = shuffled[i];
      Schedule own{schedule.order, schedule.seed * 0x9e3779b97f4a7c15u + i};
      try {
        alone ? run_alone(*block, i, own) : run_team(i, own);
        count_finished_block();
      } catch (const std::exception& exception) {
        if (!failed.exchange(true)) error = "kernel " + kernel_name(grid) + ", " + exception.what();
      }
    }
    give_back(std::move(block));
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
