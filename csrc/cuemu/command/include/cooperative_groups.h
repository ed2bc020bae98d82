// What files written for nvcc include.
#pragma once

#include "cuemu/cooperative_groups.h"
#include "cuemu/cuda.h"
