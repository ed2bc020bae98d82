// What a file of the command line gets before its first line (`g++ -include`). CUDA's words are taken out of the
// preprocessor's hands again: nnzoo_fast/cuemu/rewrite.py wants to see them, and standard headers use some of these
// names for themselves. What they stand for it reads from `cuemu_words`.
#pragma once

#include "cuemu/command/launcher.h"
#include "cuemu/cuda.h"

#define CUEMU_TEXT_OF(...) #__VA_ARGS__
#define CUEMU_EXPANDED(...) CUEMU_TEXT_OF(__VA_ARGS__)
[[maybe_unused]] static const char* const cuemu_words[] = {
    "__global__",   CUEMU_EXPANDED(__global__),    //
    "__device__",   CUEMU_EXPANDED(__device__),    //
    "__shared__",   CUEMU_EXPANDED(__shared__),    //
    "__noinline__", CUEMU_EXPANDED(__noinline__),  //
};
#undef CUEMU_EXPANDED
#undef CUEMU_TEXT_OF

#undef __global__
#undef __device__
#undef __shared__
#undef __noinline__
