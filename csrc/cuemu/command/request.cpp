#include "cuemu/command/request.h"

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace cuemu::command {
namespace {

std::vector<std::string> words_of(const std::string& line) {
  std::vector<std::string> words;
  std::istringstream stream(line);
  for (std::string word; std::getline(stream, word, '\t');) words.push_back(word);
  return words;
}

unsigned number(const std::string& word) { return static_cast<unsigned>(std::stoul(word)); }

Request read(const char* path) {
  if (!path) throw std::runtime_error("this program was built by `nnzoo-fast cuemu`, which has to start it");
  std::ifstream file(path);
  Request request;
  for (std::string line; std::getline(file, line);) {
    std::vector<std::string> words = words_of(line);
    words.resize(6);
    const std::string& what = words[0];
    if (what == "report") request.report = words[1];
    if (what == "mode") request.check = words[1] == "check";
    if (what == "timeout") request.timeout_ms = std::stoul(words[1]);
    if (what == "grid") request.grid = dim3(number(words[1]), number(words[2]), number(words[3]));
    if (what == "block") request.block = dim3(number(words[1]), number(words[2]), number(words[3]));
    if (what == "shared") request.shared_bytes = std::stoull(words[1]);
    if (what == "number") request.arguments.push_back({false, words[1], words[2], words[3], 0, 0, "", nullptr});
    if (what == "array")
      request.arguments.push_back(
          {true, words[1], "", words[5], std::stoull(words[2]), std::stoull(words[3]), words[4], nullptr});
  }
  return request;
}

}  // namespace

Request& request() {
  static Request request = read(std::getenv("CUEMU_REQUEST"));
  return request;
}

}  // namespace cuemu::command
