#include "cuemu/check/check.h"

#include <memory>

#include "cuemu/check/session.h"

namespace {

// Outlives its end: the memory that it allocated still holds results.
std::unique_ptr<cuemu::check::Session>& owned_session() {
  static auto* session = new std::unique_ptr<cuemu::check::Session>;
  return *session;
}

std::string report;

}  // namespace

void cuemu_check_begin() {
  owned_session() = std::make_unique<cuemu::check::Session>();
  cuemu::check::session = owned_session().get();
  cuemu::observer = cuemu::check::session;
}

void cuemu_check_buffer(const void* address, size_t bytes, int initialised, const char* name) {
  if (auto* session = owned_session().get())
    session->global_memory().add(reinterpret_cast<std::uintptr_t>(address), bytes, initialised != 0, name);
}

void cuemu_check_written(const void* address, size_t bytes) {
  if (auto* session = owned_session().get()) session->host_writes(address, bytes);
}

void cuemu_check_forget(const void* address) {
  if (auto* session = owned_session().get()) session->global_memory().remove(reinterpret_cast<std::uintptr_t>(address));
}

void* cuemu_check_allocate(size_t bytes, int initialised, const char* name) {
  auto* session = owned_session().get();
  return session ? session->global_memory().allocate(bytes, initialised != 0, name) : nullptr;
}

const char* cuemu_check_end() {
  if (!cuemu::check::session) return "";
  cuemu::check::session = nullptr;
  cuemu::observer = nullptr;
  report = owned_session()->report();
  return report.c_str();
}
