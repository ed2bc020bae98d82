// Planted deadlocks, missing waits, and masks that name lanes which are gone.
#include "case.h"
#include "common/bulk_copy.cuh"
#include "common/cluster.cuh"
#include "common/mbarrier.cuh"
#include "common/mma.cuh"
#include "common/wgmma.cuh"

namespace {

constexpr unsigned kAll = 0xffffffffu;

template <bool right>
__global__ void barrier_in_a_branch(const float* in, float* out) {
  __shared__ float first;
  if (threadIdx.x == 0) first = in[0];
  if (right || threadIdx.x < 32) __syncthreads();  // deadlock
  if (right || threadIdx.x < 32) out[threadIdx.x] = first;
}
CASE(barrier_in_a_branch, 1, 64, 0)

template <bool right>
__global__ void barrier_after_return(const float* in, float* out) {
  __shared__ float values[64];
  const int i = threadIdx.x;
  const bool is_inside = i < 48;
  if (!right && !is_inside) return;
  values[i] = is_inside ? in[i] : 0;
  __syncthreads();  // deadlock
  if (is_inside) out[i] = values[47 - i];
}
CASE(barrier_after_return, 1, 64, 0)

template <bool right>
__global__ void one_barrier_for_each_half(const float*, float* out) {
  if (right) {
    __syncthreads();
  } else if (threadIdx.x < 32) {
    __syncthreads();  // deadlock
  } else {
    __syncthreads();  // deadlock
  }
  out[threadIdx.x] = 1;
}
CASE(one_barrier_for_each_half, 1, 64, 0)

template <bool right>
__global__ void barrier_in_a_loop_of_unequal_length(const float*, float* out) {
  const int rounds = right ? 4 : 3 + static_cast<int>(threadIdx.x) / 32;
  float sum = 0;
  for (int k = 0; k < rounds; ++k) {
    sum += k;
    __syncthreads();  // deadlock
  }
  out[threadIdx.x] = sum;
}
CASE(barrier_in_a_loop_of_unequal_length, 1, 64, 0)

template <bool right>
__global__ void shuffle_that_half_the_warp_skips(const float* in, float* out) {
  float value = in[threadIdx.x];
  if (right || threadIdx.x < 16) value += __shfl_xor_sync(kAll, value, 1);  // deadlock
  __syncthreads();                                                          // deadlock
  out[threadIdx.x] = value;
}
CASE(shuffle_that_half_the_warp_skips, 1, 32, 0)

template <bool right>
__global__ void shuffle_after_return(const float* in, float* out) {
  const int i = threadIdx.x;
  if (!right && i >= 20) return;
  float value = i < 20 ? in[i] : 0;
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(kAll, value, distance);  // exited_lane
  if (i == 0) out[0] = value;
}
CASE(shuffle_after_return, 1, 32, 0)

template <bool right>
__global__ void vote_after_return(const float* in, float* out) {
  const int i = threadIdx.x;
  if (i >= 20) return;
  const unsigned positive = __ballot_sync(right ? 0x000fffffu : kAll, in[i] > 0);  // exited_lane
  out[i] = static_cast<float>(__popc(positive));
}
CASE(vote_after_return, 1, 32, 0)

template <bool right>
__global__ void syncwarp_after_return(const float* in, float* out) {
  __shared__ float values[32];
  const int i = threadIdx.x;
  if (i % 2) return;
  values[i] = in[i];
  __syncwarp(right ? 0x55555555u : kAll);  // exited_lane
  out[i] = values[(i + 2) % 32];
}
CASE(syncwarp_after_return, 1, 32, 0)

template <bool right>
__global__ void shuffle_from_a_lane_outside_the_mask(const float* in, float* out) {
  const int i = threadIdx.x;
  if (i < 16) out[i] = __shfl_sync(0x0000ffffu, in[i], right ? i ^ 1 : i + 16);  // exited_lane
}
CASE(shuffle_from_a_lane_outside_the_mask, 1, 32, 0)

template <bool right>
__global__ void copy_without_wait(const float* in, float* out) {
  float* values = nnzoo::dynamic_shared<float>();
  const int i = threadIdx.x;
  nnzoo::cp_async<4>(&values[i], &in[i]);
  nnzoo::cp_async_commit();
  if (right) nnzoo::cp_async_wait<0>();
  __syncthreads();
  out[i] = values[63 - i];  // missing_wait
  nnzoo::cp_async_wait<0>();
}
CASE(copy_without_wait, 1, 64, 64 * sizeof(float))

// Waiting is each thread's own affair; only a barrier tells the others.
template <bool right>
__global__ void wait_without_barrier(const float* in, float* out) {
  float* values = nnzoo::dynamic_shared<float>();
  const int i = threadIdx.x;
  nnzoo::cp_async<4>(&values[i], &in[i]);  // race
  nnzoo::cp_async_commit();
  nnzoo::cp_async_wait<0>();
  if (right) __syncthreads();
  out[i] = values[63 - i];  // race, missing_wait
}
CASE(wait_without_barrier, 1, 64, 64 * sizeof(float))

// Two stages: while one is computed on, the next one comes.
template <bool right>
__global__ void pipeline_with_a_weak_wait(const float* in, float* out) {
  float* stages = nnzoo::dynamic_shared<float>();
  const int i = threadIdx.x;
  float sum = 0;
  nnzoo::cp_async<4>(&stages[i], &in[i]);
  nnzoo::cp_async_commit();
  for (int step = 0; step < 4; ++step) {
    if (step < 3) nnzoo::cp_async<4>(&stages[(step + 1) % 2 * 64 + i], &in[(step + 1) * 64 + i]);  // missing_wait
    nnzoo::cp_async_commit();
    if (right)
      nnzoo::cp_async_wait<1>();
    else
      nnzoo::cp_async_wait<2>();
    __syncthreads();
    sum += stages[step % 2 * 64 + 63 - i];  // missing_wait
    __syncthreads();
  }
  nnzoo::cp_async_wait<0>();
  out[i] = sum;
}
CASE(pipeline_with_a_weak_wait, 1, 64, 128 * sizeof(float))

template <bool right>
__global__ void store_into_a_copy(const float* in, float* out) {
  float* values = nnzoo::dynamic_shared<float>();
  const int i = threadIdx.x;
  nnzoo::cp_async<4>(&values[i], &in[i]);
  nnzoo::cp_async_commit();
  if (right) nnzoo::cp_async_wait<0>();
  values[i] = 1;  // missing_wait
  nnzoo::cp_async_wait<0>();
  out[i] = values[i];
}
CASE(store_into_a_copy, 1, 64, 64 * sizeof(float))

template <bool right>
__global__ void copy_that_nobody_waits_for(const float* in, float* out) {
  float* values = nnzoo::dynamic_shared<float>();
  nnzoo::cp_async<4>(&values[threadIdx.x], &in[threadIdx.x]);  // missing_wait
  if (right) {
    nnzoo::cp_async_commit();
    nnzoo::cp_async_wait<0>();
  }
  out[threadIdx.x] = in[threadIdx.x];
}
CASE(copy_that_nobody_waits_for, 1, 64, 64 * sizeof(float))

// A bulk copy is there for those who have waited at its barrier.
template <bool right>
__global__ void bulk_copy_without_wait(const float* in, float* out) {
  __shared__ __align__(128) float values[64];
  __shared__ std::uint64_t arrived;
  if (threadIdx.x == 0) {
    nnzoo::mbarrier_init(&arrived, 1);
    nnzoo::mbarrier_fence_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    nnzoo::mbarrier_arrive_expect_bytes(&arrived, sizeof values);
    nnzoo::bulk_copy_to_shared(values, in, sizeof values, &arrived);  // race
  }
  if (right || threadIdx.x == 0) nnzoo::mbarrier_wait(&arrived, 0);
  out[threadIdx.x] = values[63 - threadIdx.x];  // missing_wait, race
}
CASE(bulk_copy_without_wait, 1, 64, 0)

// What threads have stored is there for the engines after a fence between the two kinds of access.
template <bool right>
__global__ void bulk_copy_without_fence(const float* in, float* out) {
  float* values = nnzoo::dynamic_shared<float>();
  values[threadIdx.x] = in[threadIdx.x];
  if (right) nnzoo::bulk_copy_fence();
  __syncthreads();
  if (threadIdx.x > 0) return;
  nnzoo::bulk_copy_to_global(out, values, 64 * sizeof(float));  // missing_wait
  nnzoo::bulk_copy_commit();
  nnzoo::bulk_copy_wait<0>();
}
CASE(bulk_copy_without_fence, 1, 64, 64 * sizeof(float))

template <bool right>
__global__ void wgmma_without_fence(const float* in, float* out) {
  auto* operands = nnzoo::dynamic_shared<__nv_bfloat16>();  // a: [64, 16] and b: [8, 16], pieces of 8 x 8
  for (int i = threadIdx.x; i < 72 * 16; i += 128) operands[i] = __float2bfloat16(in[i % 1024]);
  if (right) nnzoo::bulk_copy_fence();
  __syncthreads();
  float sums[4] = {};
  nnzoo::wgmma_fence();
  const auto a = nnzoo::wgmma_descriptor(operands, 128, 256, nnzoo::WgmmaSwizzle::none);
  const auto b = nnzoo::wgmma_descriptor(operands + 64 * 16, 128, 256, nnzoo::WgmmaSwizzle::none);
  nnzoo::wgmma<8>(sums, a, b, false, __nv_bfloat16());  // missing_wait
  nnzoo::wgmma_commit();
  nnzoo::wgmma_wait<0>(sums);
  for (int i = 0; i < 4; ++i) out[threadIdx.x * 4 + i] = sums[i];
}
CASE(wgmma_without_fence, 1, 128, 72 * 16 * 2)

// A thread that waits in a loop of loads lets others run, and is reported if nobody ever ends its loop.
template <bool right>
__global__ void flag_that_nobody_sets(const float* in, float* out) {
  __shared__ volatile int flag;
  if (threadIdx.x == 0) flag = 0;
  __syncthreads();
  if (threadIdx.x == 0) {
    while (flag == 0) {  // deadlock
    }
  }
  if (threadIdx.x == 32 && right) atomicExch(const_cast<int*>(&flag), 1);
  out[threadIdx.x] = in[threadIdx.x];
}
CASE(flag_that_nobody_sets, 1, 64, 0)

// What a block writes into another one's shared memory is there after the cluster's barrier.
template <bool right>
__global__ void cluster_without_barrier(const float* in, float* out) {
  __shared__ float mail[32];
  const unsigned rank = nnzoo::cluster_rank();
  nnzoo::cluster_sync();
  nnzoo::map_shared_rank(mail, 1 - rank)[threadIdx.x] = in[rank * 32 + threadIdx.x];  // race
  if (right) nnzoo::cluster_sync();
  out[rank * 32 + threadIdx.x] = mail[threadIdx.x];  // race
  nnzoo::cluster_sync();
}
static const Case cluster_case("cluster_without_barrier", [](bool right, const float* in, float* out) {
  const nnzoo::Together pair{dim3(2)};
  if (right)
    nnzoo::launch_together<cluster_without_barrier<true>>(pair, dim3(2), dim3(32), 0, nullptr, in, out);
  else
    nnzoo::launch_together<cluster_without_barrier<false>>(pair, dim3(2), dim3(32), 0, nullptr, in, out);
});

}  // namespace
