// How it ended, told to the command line: the first line of the report is one of these words, the rest belongs to it.
//
//     done       nothing more
//     checked    the checker's report, JSON
//     usage      the argument or launch that can't be, in words
//     failed     what the emulator says that went wrong, in words
//     crashed    SIGNAL PC ADDRESS BLOCK (3 numbers) THREAD (3), and where the address lies, in words
//     overrun    a message for each array beyond whose end the kernel has written
#pragma once

#include <string>

namespace cuemu::command {

void report(const char* word, const std::string& text);

// Reports, and ends the process at once.
[[noreturn]] void end(const char* word, const std::string& text);

// From now on a crash is reported, too.
void watch_for_crashes();

}  // namespace cuemu::command
