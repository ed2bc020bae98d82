#include "cuemu/environment.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>

namespace cuemu {
namespace {

constexpr unsigned kMaxWorkers = 16;  // each maps up to 1,024 stacks

unsigned long parse_number(const char* text, const char* variable) {
  char* end = nullptr;
  unsigned long value = std::strtoul(text, &end, 10);
  if (end == text || *end)
    throw std::invalid_argument(std::string(variable) + ": expected a number, got '" + text + "'");
  return value;
}

}  // namespace

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

unsigned long spin_seconds_from_environment() {
  const char* text = std::getenv("CUEMU_SPIN_SECONDS");
  return text && *text ? parse_number(text, "CUEMU_SPIN_SECONDS") : 30;
}

}  // namespace cuemu
