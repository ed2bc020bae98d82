// Asynchronous operations of one thread, in groups that it closes and waits for. Each is done by the wait that covers
// it, as late as the program allows. Internal to the emulator's .cpp files.
#pragma once

#include <functional>
#include <vector>

#include "cuemu/runtime.h"

namespace cuemu {

class OperationQueue {
 public:
  void push(std::function<void()> operation, Site site) {
    operations_.push_back({std::move(operation), open_group_, site});
  }
  void commit() { ++open_group_; }

  // Does all but those of the youngest `groups_left` groups and of the group that is still open.
  void wait(unsigned groups_left) {
    std::size_t due = 0;
    while (due < operations_.size() && operations_[due].group + groups_left < open_group_) operations_[due++].perform();
    operations_.erase(operations_.begin(), operations_.begin() + static_cast<std::ptrdiff_t>(due));
  }

  void clear() {
    operations_.clear();
    open_group_ = 0;
  }
  bool is_empty() const { return operations_.empty(); }
  Site first_site() const { return operations_.front().site; }

 private:
  struct Operation {
    std::function<void()> perform;
    unsigned group;
    Site site;
  };
  std::vector<Operation> operations_;
  unsigned open_group_ = 0;
};

}  // namespace cuemu
