#include "cuemu/check/module.h"

#include <cxxabi.h>
#include <elf.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "cuemu/language.h"

namespace cuemu::check {
namespace {

// "tile" for the mangled name of `transpose(float*)::tile`.
std::string short_name(const char* mangled) {
  int status = 0;
  char* demangled = abi::__cxa_demangle(mangled, nullptr, nullptr, &status);
  std::string name = status == 0 ? demangled : mangled;
  std::free(demangled);
  std::size_t colons = name.rfind("::");
  return colons == std::string::npos ? name : name.substr(colons + 2);
}

bool is_the_emulators(const std::string& mangled) {
  // _ZGV: whether a variable has been constructed.
  return mangled.rfind("_ZGV", 0) == 0 || mangled == "threadIdx" || mangled == "blockIdx" || mangled == "blockDim" ||
         mangled == "gridDim" || mangled.rfind("_ZN5cuemu", 0) == 0;
}

std::vector<SharedArray> read_shared_arrays(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  std::vector<char> bytes((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  std::vector<SharedArray> arrays;
  if (bytes.size() < sizeof(ElfW(Ehdr))) return arrays;
  auto* header = reinterpret_cast<const ElfW(Ehdr)*>(bytes.data());
  auto* sections = reinterpret_cast<const ElfW(Shdr)*>(bytes.data() + header->e_shoff);
  for (int i = 0; i < header->e_shnum; ++i) {
    if (sections[i].sh_type != SHT_SYMTAB) continue;
    auto* symbols = reinterpret_cast<const ElfW(Sym)*>(bytes.data() + sections[i].sh_offset);
    const char* names = bytes.data() + sections[sections[i].sh_link].sh_offset;
    for (std::size_t j = 0; j < sections[i].sh_size / sizeof *symbols; ++j) {
      if (ELF64_ST_TYPE(symbols[j].st_info) != STT_TLS || symbols[j].st_size == 0) continue;
      const char* name = names + symbols[j].st_name;
      arrays.push_back({symbols[j].st_value, symbols[j].st_size, short_name(name), is_the_emulators(name)});
    }
  }
  std::sort(arrays.begin(), arrays.end(),
            [](const SharedArray& a, const SharedArray& b) { return a.offset < b.offset; });
  return arrays;
}

int describe_if_it_holds_us(dl_phdr_info* info, std::size_t, void* result) {
  Module module{info->dlpi_name, info->dlpi_addr, {}, 0, 0, {}};
  auto here = reinterpret_cast<std::uintptr_t>(&this_module);
  bool is_ours = false;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr) & part = info->dlpi_phdr[i];
    std::uintptr_t begin = info->dlpi_addr + part.p_vaddr;
    if (part.p_type == PT_LOAD) {
      module.segments.push_back({begin, begin + part.p_memsz, (part.p_flags & PF_W) != 0});
      if (here >= begin && here < begin + part.p_memsz) is_ours = true;
    }
    if (part.p_type == PT_TLS) {
      module.thread_local_bytes = part.p_memsz;
      module.thread_local_offset =
          reinterpret_cast<std::uintptr_t>(&::threadIdx) - reinterpret_cast<std::uintptr_t>(info->dlpi_tls_data);
    }
  }
  if (!is_ours) return 0;
  if (module.file.empty()) {
    char path[PATH_MAX] = {};
    if (::readlink("/proc/self/exe", path, sizeof path - 1) > 0) module.file = path;
  }
  *static_cast<Module*>(result) = module;
  return 1;
}

Module describe_this_module() {
  Module module{};
  volatile unsigned touched = ::threadIdx.x;  // so that this OS thread has its thread-local storage
  static_cast<void>(touched);
  dl_iterate_phdr(&describe_if_it_holds_us, &module);
  module.shared_arrays = read_shared_arrays(module.file);
  return module;
}

}  // namespace

const Module& this_module() {
  static const Module* module = new Module(describe_this_module());  // a report may be written when the process ends
  return *module;
}

}  // namespace cuemu::check
