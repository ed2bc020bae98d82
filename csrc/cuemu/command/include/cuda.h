// What files written for nvcc include; here all of it is one header.
#pragma once

#include "cuemu/cuda.h"
