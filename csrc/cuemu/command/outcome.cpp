#include "cuemu/command/outcome.h"

#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "cuemu/command/memory.h"
#include "cuemu/command/request.h"
#include "cuemu/runtime.h"

namespace cuemu::command {
namespace {

// Where the program's first segment is, whatever address the system loaded it at.
extern "C" const char __executable_start;

unsigned long program_counter(void* context) {
#if defined(__x86_64__)
  auto address = static_cast<unsigned long>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
#elif defined(__aarch64__)
  auto address = static_cast<unsigned long>(static_cast<ucontext_t*>(context)->uc_mcontext.pc);
#else
  unsigned long address = 0;
#endif
  return address - reinterpret_cast<unsigned long>(&__executable_start);
}

// The process is lost, so what a handler may not do in general (to allocate) is worth the try; should it crash once
// more, the default action ends the process and the command line sees the signal.
void on_crash(int signal, siginfo_t* info, void* context) {
  const uint3& b = blockIdx;
  const uint3& t = threadIdx;
  auto address = reinterpret_cast<unsigned long>(info->si_addr);
  char text[256];
  std::snprintf(text, sizeof text, "%d\t%lx\t%lx\t%u\t%u\t%u\t%u\t%u\t%u\t", signal, program_counter(context), address,
                b.x, b.y, b.z, t.x, t.y, t.z);
  const char* where = runs_a_kernel() ? "in a kernel" : "in host code";
  end("crashed", text + (signal == SIGALRM ? where : describe_address(info->si_addr)));
}

}  // namespace

void report(const char* word, const std::string& text) {
  std::fflush(nullptr);
  std::ofstream file(request().report);
  file << word << '\n' << text;
}

void end(const char* word, const std::string& text) {
  report(word, text);
  std::_Exit(0);
}

void watch_for_crashes() {
  struct sigaction action{};
  action.sa_sigaction = on_crash;
  action.sa_flags = SA_SIGINFO | SA_RESETHAND;
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM}) sigaction(signal, &action, nullptr);
  const auto milliseconds = static_cast<long>(request().timeout_ms);
  const itimerval timer{{0, 0}, {milliseconds / 1000, milliseconds % 1000 * 1000}};
  setitimer(ITIMER_REAL, &timer, nullptr);
}

}  // namespace cuemu::command
