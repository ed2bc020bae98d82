#include "cuemu/team.h"

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <thread>
#include <utility>

#include "cuemu/block_pool.h"
#include "cuemu/observer.h"

namespace cuemu {
namespace {
std::atomic<std::uint64_t> finished{0};
}

std::uint64_t finished_blocks() { return finished; }
void count_finished_block() { ++finished; }

std::string name_block(uint3 index) {
  return "block (" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + "), ";
}

Team::Team(const Grid& grid, const std::vector<uint3>& indices, Schedule schedule)
    : grid_(grid), schedule_(schedule), random_(schedule.seed) {
  const unsigned cluster_blocks = grid.cluster[0] * grid.cluster[1] * grid.cluster[2];
  const unsigned threads = grid.block[0] * grid.block[1] * grid.block[2];
  const auto blocks = static_cast<unsigned>(indices.size());
  cluster_barriers_.assign(blocks / cluster_blocks, GroupBarrier{cluster_blocks * threads, 0, 0});
  grid_barrier_ = {blocks * threads, 0, 0};
  for (uint3 index : indices) {
    members_.push_back(std::make_unique<Member>());
    Member& member = *members_.back();
    member.block = take_block();
    member.index = index;
    member.stage = Stage::waiting_to_begin;
    blocks_.push_back(member.block.get());
  }
  for (unsigned i = 0; i < blocks; ++i) {
    const unsigned cluster = i / cluster_blocks;
    members_[i]->neighbours = {
        &blocks_[cluster * cluster_blocks], {grid.cluster[0], grid.cluster[1], grid.cluster[2]}, i % cluster_blocks,
        &cluster_barriers_[cluster],        grid.cooperative ? &grid_barrier_ : nullptr,         this};
  }
}

Team::~Team() {
  for (auto& member : members_) give_back(std::move(member->block));
}

void Team::run(void (*entry)(const void*), const void* body) {
  const auto count = static_cast<unsigned>(members_.size());
  if (schedule_.order == Order::reverse) turn_ = count - 1;
  if (schedule_.order == Order::random) turn_ = static_cast<unsigned>(next_random(random_) % count);
  std::vector<std::thread> helpers;
  for (unsigned i = 1; i < count; ++i) helpers.emplace_back([=] { run_member(i, entry, body); });
  run_member(0, entry, body);
  for (std::thread& helper : helpers) helper.join();
  if (failed_) throw std::runtime_error(error_);
}

void Team::run_member(unsigned number, void (*entry)(const void*), const void* body) {
  Member& member = *members_[number];
  std::unique_lock<std::mutex> lock(mutex_);
  member.turn.wait(lock, [&] { return turn_ == number || failed_; });
  if (!failed_) {
    member.stage = Stage::running;
    Schedule own{schedule_.order, schedule_.seed * 0x9e3779b97f4a7c15u + number};
    lock.unlock();
    std::string error;
    try {
      member.block->run(grid_, member.index, own, &member.neighbours, entry, body);
    } catch (const std::exception& exception) {
      error = name_block(member.index) + exception.what();
    }
    lock.lock();
    if (!error.empty()) fail(error);
  }
  member.stage = Stage::ended;
  if (++ended_ == members_.size()) all_ended_.notify_all();
  if (!failed_ && ended_ < members_.size()) pass_turn(number);
  // An OS thread takes its `__shared__` variables with it, and others may still look at them.
  all_ended_.wait(lock, [&] { return ended_ == members_.size(); });
}

bool Team::wait_for_turn() {
  std::unique_lock<std::mutex> lock(mutex_);
  const unsigned number = turn_;
  if (!pass_turn(number)) return false;
  members_[number]->turn.wait(lock, [&] { return turn_ == number || failed_; });
  return !failed_;
}

// Gives the turn to the next block that can go on, perhaps to the same one. False: there is none.
bool Team::pass_turn(unsigned number) {
  const auto count = static_cast<unsigned>(members_.size());
  const unsigned start =
      schedule_.order == Order::random ? static_cast<unsigned>(next_random(random_) % count) : number;
  for (unsigned step = 1; step <= count; ++step) {
    const unsigned next = (schedule_.order == Order::reverse ? start + count - step : start + step) % count;
    if (!can_go_on(*members_[next])) continue;
    if (spin_clock_.expired(progress())) {
      fail_without_progress("no progress: threads only spin\n");
      return false;
    }
    give_turn(next);
    return true;
  }
  fail_without_progress("deadlock: no thread can go on\n");
  return false;
}

void Team::give_turn(unsigned number) {
  turn_ = number;
  members_[number]->turn.notify_one();
}

bool Team::can_go_on(Member& member) {
  switch (member.stage) {
    case Stage::waiting_to_begin:
      return true;
    case Stage::running:
      return member.block->has_ready_threads() || member.block->find_own_work();
    default:
      return false;
  }
}

void Team::fail(const std::string& error) {
  if (!failed_) error_ = error;
  failed_ = true;
  for (auto& member : members_) member->turn.notify_one();
}

void Team::fail_without_progress(const std::string& what) {
  const std::string message = what + describe_waiting();
  for (auto& member : members_)
    if (observer && member->stage == Stage::running) member->block->tell_deadlock(message);
  fail(message);
}

// Blocks whose threads wait at the same places are named together.
std::string Team::describe_waiting() const {
  std::vector<std::pair<std::string, std::string>> blocks_by_report;
  for (auto& member : members_) {
    std::string report = "  have returned\n";
    if (member->stage != Stage::ended) report = member->block->describe_waiting();
    auto same = [&](auto& entry) { return entry.second == report; };
    auto found = std::find_if(blocks_by_report.begin(), blocks_by_report.end(), same);
    if (found == blocks_by_report.end()) found = blocks_by_report.insert(found, {"", report});
    found->first += name_block(member->index);
  }
  std::string text;
  for (auto& [blocks, report] : blocks_by_report) text += blocks.substr(0, blocks.size() - 2) + ":\n" + report;
  return text;
}

std::uint64_t Team::progress() const {
  std::uint64_t sum = finished_blocks();
  for (auto& member : members_) sum += member->block->progress();
  return sum;
}

}  // namespace cuemu
