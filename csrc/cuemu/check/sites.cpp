#include "cuemu/check/sites.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cuemu/check/module.h"

namespace cuemu::check {
namespace {

// What is inlined from the emulator's headers belongs to the line that called it. The compiler saw them in the folder
// above this file's.
bool is_the_emulators(const std::string& file) {
  static const std::string& folder = *new std::string([] {
    std::string path = __FILE__;
    path.erase(path.rfind("check/sites.cpp"));
    return path;
  }());
  std::size_t at = file.find(folder);
  return at == 0 || (at != std::string::npos && file[at - 1] == '/');
}

// What addr2line prints about each address: a line "0x...", then one "file:line" for every inlined call, innermost
// first.
std::vector<Line> parse(FILE* output, std::size_t count) {
  std::vector<Line> lines;
  char text[4096];
  while (std::fgets(text, sizeof text, output)) {
    if (std::strncmp(text, "0x", 2) == 0) {
      lines.push_back({"", 0});
      continue;
    }
    char* colon = std::strrchr(text, ':');
    if (!colon || lines.empty()) continue;
    Line& line = lines.back();
    bool is_final = line.line && !is_the_emulators(line.file);
    if (!is_final) line = {std::string(text, colon), std::atoi(colon + 1)};
  }
  lines.resize(count, {"??", 0});
  return lines;
}

// A word of a shell's command line.
std::string quoted(const std::string& word) {
  std::string text = "'";
  for (char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

std::vector<Line> resolve(const std::vector<const void*>& pcs) {
  std::vector<Line> unknown(pcs.size(), {"??", 0});
  const char* folder = std::getenv("TMPDIR");
  std::string addresses = std::string(folder && *folder ? folder : "/tmp") + "/cuemu-check-XXXXXX";
  int descriptor = mkstemp(addresses.data());
  if (descriptor < 0) return unknown;
  FILE* input = fdopen(descriptor, "w");
  // A return address is that of the next instruction, which may belong to another line.
  for (const void* pc : pcs)
    std::fprintf(input, "0x%zx\n", reinterpret_cast<std::uintptr_t>(pc) - 1 - this_module().base);
  std::fclose(input);
  std::string command = "addr2line -a -i -e " + quoted(this_module().file) + " < " + quoted(addresses);
  FILE* output = popen((command + " 2> /dev/null").c_str(), "r");
  if (output) {
    unknown = parse(output, pcs.size());
    pclose(output);
  }
  unlink(addresses.c_str());
  return unknown;
}

// A line's file may be told with the path that the compiler was given; the debug information has the whole path.
std::string whole_path(const std::string& file, const std::vector<Line>& known) {
  if (file.empty() || file[0] == '/') return file;
  std::string ending = "/" + file;
  for (const Line& line : known)
    if (line.file.size() > ending.size() &&
        line.file.compare(line.file.size() - ending.size(), ending.size(), ending) == 0)
      return line.file;
  char* path = realpath(file.c_str(), nullptr);
  std::string whole = path ? path : file;
  std::free(path);
  return whole;
}

}  // namespace

SiteId Sites::add(const Place& place) {
  places_.push_back(place);
  return static_cast<SiteId>(places_.size() - 1);
}

Instruction& Sites::add_instruction(const Place& place, std::uint64_t key) {
  instructions_.emplace_back(place);
  if (2 * instructions_.size() > table_.size()) {
    std::vector<Slot> old(2 * table_.size());
    old.swap(table_);
    --shift_;
    for (const Slot& slot : old)
      if (slot.key) insert(slot);
  }
  insert({key, &instructions_.back()});
  return instructions_.back();
}

void Sites::insert(Slot slot) {
  std::size_t at = slot.key * 0x9e3779b97f4a7c15u >> shift_;
  while (table_[at].key) at = (at + 1) & (table_.size() - 1);
  table_[at] = slot;
}

std::vector<Line> Sites::lines() const {
  std::vector<const void*> pcs;
  for (const Place& place : places_)
    if (place.pc) pcs.push_back(place.pc);
  std::vector<Line> resolved = pcs.empty() ? std::vector<Line>() : resolve(pcs);
  std::vector<Line> lines;
  auto next = resolved.begin();
  for (const Place& place : places_)
    lines.push_back(place.pc ? *next++
                             : Line{whole_path(place.site.file ? place.site.file : "??", resolved), place.site.line});
  return lines;
}

}  // namespace cuemu::check
