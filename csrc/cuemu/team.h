// Blocks that must run together because they wait for each other: the blocks of a cluster, or all blocks of a
// cooperative launch.
//
// Each block has an OS thread of its own, so that its `__shared__` variables are its own, but only one of them runs at
// a time: a block hands its turn on when none of its threads can go on. So the whole team needs no locks inside, its
// schedule repeats, and a deadlock is seen at once: nobody is left to take the turn.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cuemu/block.h"

namespace cuemu {

class Team {
 public:
  // `indices` lists the blocks, those of one cluster next to each other and by rank.
  Team(const Grid& grid, const std::vector<uint3>& indices, Schedule schedule);
  ~Team();

  // Runs all blocks to their end. Throws std::runtime_error.
  void run(void (*entry)(const void*), const void* body);

  // Called by the block whose turn it is when none of its threads can go on, except for those that spin. Returns true
  // when they can.
  bool wait_for_turn();

 private:
  enum class Stage { waiting_to_begin, running, ended };
  struct Member {
    std::unique_ptr<Block> block;
    uint3 index;
    Stage stage;
    std::condition_variable turn;
    Neighbours neighbours;
  };

  void run_member(unsigned number, void (*entry)(const void*), const void* body);
  bool pass_turn(unsigned number);
  void give_turn(unsigned number);
  bool can_go_on(Member& member);
  void fail(const std::string& error);
  void fail_without_progress(const std::string& what);
  std::string describe_waiting() const;
  std::uint64_t progress() const;

  const Grid& grid_;
  Schedule schedule_;
  std::uint64_t random_;
  std::vector<std::unique_ptr<Member>> members_;
  std::vector<Block*> blocks_;
  std::vector<GroupBarrier> cluster_barriers_;
  GroupBarrier grid_barrier_;
  SpinClock spin_clock_;

  std::mutex mutex_;  // held by whoever has the turn, except while its block runs
  unsigned turn_ = 0;
  unsigned ended_ = 0;
  std::condition_variable all_ended_;
  bool failed_ = false;
  std::string error_;
};

// "block (1, 0, 0), "
std::string name_block(uint3 index);

// Grows with every block that has ended, in any launch.
std::uint64_t finished_blocks();
void count_finished_block();

}  // namespace cuemu
