// What a kernel's attributes say about its launches.
#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>

#include "cuemu/command/launcher.h"
#include "cuemu/host_api.h"

namespace cuemu::command {
namespace {

std::map<std::string, dim3>& clusters() {
  static std::map<std::string, dim3> clusters;
  return clusters;
}

// "tile" of "ns::tile<32>".
std::string plain_name(const std::string& name) {
  std::string plain = name.substr(0, name.find('<'));
  plain.erase(std::remove(plain.begin(), plain.end(), ' '), plain.end());
  const std::size_t colons = plain.rfind("::");
  return colons == std::string::npos ? plain : plain.substr(colons + 2);
}

}  // namespace

void check_shared_bytes(const char* name, const void* kernel, std::size_t bytes) {
  const std::size_t allowed = kernel ? allowed_shared_bytes(kernel) : largest_allowed_shared_bytes();
  if (bytes <= allowed || bytes > kSharedPerBlock) return;
  throw std::invalid_argument("kernel " + std::string(name) + " can't be launched: it asks for " +
                              std::to_string(bytes) + " bytes of dynamic shared memory, and more than " +
                              std::to_string(allowed) + " must be allowed first: cudaFuncSetAttribute(" +
                              plain_name(name) + ", cudaFuncAttributeMaxDynamicSharedMemorySize, bytes)");
}

Clusters::Clusters(const ClusterDims* first, int count) {
  for (int i = 0; i < count; ++i) clusters()[plain_name(first[i].kernel)] = first[i].size;
}

dim3 cluster_of(const char* name) {
  auto found = clusters().find(plain_name(name));
  return found == clusters().end() ? dim3(1, 1, 1) : found->second;
}

}  // namespace cuemu::command
