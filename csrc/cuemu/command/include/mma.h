// What files written for nvcc include for nvcuda::wmma.
#pragma once

#include "cuemu/cuda.h"
#include "cuemu/wmma.h"
